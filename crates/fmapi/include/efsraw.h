/*
 * The raw backup of encrypted files: exported and imported as they are stored, without a key.
 *
 * Names, types and values are those that Microsoft documents for advapi32.dll. docs/efsraw.md says how this library
 * behaves. Link with -lfmapi, or load the library with dlopen; who loads it and gives his function pointers the names of
 * the functions defines EFSRAW_NO_PROTOTYPES first.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef UNDELFS_EFSRAW_H
#define UNDELFS_EFSRAW_H

#ifdef _WIN32
#include <windows.h>
#else

#include "fmapi.h"

typedef uint8_t BYTE;
typedef BYTE *PBYTE;
typedef const char *LPCSTR;
typedef const WCHAR *LPCWSTR;

/* What the functions return beside the errors in fmapi.h. */
#define ERROR_BAD_FORMAT 11u
#define ERROR_INVALID_PASSWORD 86u
#define ERROR_DIRECTORY 267u
#define ERROR_NO_USER_KEYS 6006u
#define ERROR_FILE_NOT_ENCRYPTED 6007u
#define ERROR_NOT_EXPORT_FORMAT 6008u
#define ERROR_FILE_READ_ONLY 6009u
#define ERROR_VOLUME_NOT_SUPPORT_EFS 6014u
#define ERROR_EFS_VERSION_NOT_SUPPORT 6016u

/* Flags of OpenEncryptedFileRaw; none of them opens a file for export. */
#define CREATE_FOR_IMPORT 1
#define CREATE_FOR_DIR 2
#define OVERWRITE_HIDDEN 4
#define EFSRPC_SECURE_ONLY 8
#define EFS_DROP_ALTERNATE_STREAMS 0x10

#ifdef __cplusplus
extern "C" {
#endif

/* Takes the next ulLength bytes of an export; none are the end. Anything but 0 ends it, and is returned. */
typedef DWORD(WINAPI *PFE_EXPORT_FUNC)(PBYTE pbData, PVOID pvCallbackContext, ULONG ulLength);

/* Puts at most *ulLength bytes into pbData, and their number into *ulLength; 0 is the end. Anything but 0 ends it. */
typedef DWORD(WINAPI *PFE_IMPORT_FUNC)(PBYTE pbData, PVOID pvCallbackContext, PULONG ulLength);

#ifndef EFSRAW_NO_PROTOTYPES

DWORD WINAPI OpenEncryptedFileRawA(LPCSTR lpFileName, ULONG ulFlags, PVOID *pvContext);

DWORD WINAPI OpenEncryptedFileRawW(LPCWSTR lpFileName, ULONG ulFlags, PVOID *pvContext);

DWORD WINAPI ReadEncryptedFileRaw(PFE_EXPORT_FUNC pfExportCallback, PVOID pvCallbackContext, PVOID pvContext);

DWORD WINAPI WriteEncryptedFileRaw(PFE_IMPORT_FUNC pfImportCallback, PVOID pvCallbackContext, PVOID pvContext);

void WINAPI CloseEncryptedFileRaw(PVOID pvContext);

/* Of this library: the private keys, in .pfx, PEM or DER files, with which imports are decrypted. */
DWORD WINAPI EfsRawAddKeyFile(LPCWSTR File, LPCWSTR Password);

void WINAPI EfsRawClearKeys(void);

#endif /* EFSRAW_NO_PROTOTYPES */

#ifdef UNICODE
#define OpenEncryptedFileRaw OpenEncryptedFileRawW
#else
#define OpenEncryptedFileRaw OpenEncryptedFileRawA
#endif

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* _WIN32 */

#endif /* UNDELFS_EFSRAW_H */
