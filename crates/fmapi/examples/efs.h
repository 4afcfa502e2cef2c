/* The functions of raw backup, by their own names. */
#ifndef FMAPI_EXAMPLES_EFS_H
#define FMAPI_EXAMPLES_EFS_H

#define EFSRAW_NO_PROTOTYPES
#include "common.h"

#include "efsraw.h"

static DWORD(WINAPI *OpenEncryptedFileRawA)(LPCSTR, ULONG, PVOID *) UNUSED;
static DWORD(WINAPI *OpenEncryptedFileRawW)(LPCWSTR, ULONG, PVOID *) UNUSED;
static DWORD(WINAPI *ReadEncryptedFileRaw)(PFE_EXPORT_FUNC, PVOID, PVOID) UNUSED;
static DWORD(WINAPI *WriteEncryptedFileRaw)(PFE_IMPORT_FUNC, PVOID, PVOID) UNUSED;
static void(WINAPI *CloseEncryptedFileRaw)(PVOID) UNUSED;
static DWORD(WINAPI *EfsRawAddKeyFile)(LPCWSTR, LPCWSTR) UNUSED;
static void(WINAPI *EfsRawClearKeys)(void) UNUSED;

/* Loads the library. */
static void load_efs(void)
{
    load();
    find(&OpenEncryptedFileRawA, "OpenEncryptedFileRawA");
    find(&OpenEncryptedFileRawW, "OpenEncryptedFileRawW");
    find(&ReadEncryptedFileRaw, "ReadEncryptedFileRaw");
    find(&WriteEncryptedFileRaw, "WriteEncryptedFileRaw");
    find(&CloseEncryptedFileRaw, "CloseEncryptedFileRaw");
    find(&EfsRawAddKeyFile, "EfsRawAddKeyFile");
    find(&EfsRawClearKeys, "EfsRawClearKeys");
}

#endif
