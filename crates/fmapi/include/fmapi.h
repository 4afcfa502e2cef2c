/*
 * The File Management API (FMAPI): restore contexts, scans for restorable files, and their restoring.
 *
 * Names, types and values are those that Microsoft documents for fmapi.dll. docs/fmapi.md says how this library behaves.
 * Link with -lfmapi, or load the library with dlopen; who loads it and gives his function pointers the names of the
 * functions defines FMAPI_NO_PROTOTYPES first.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef UNDELFS_FMAPI_H
#define UNDELFS_FMAPI_H

#ifdef _WIN32
#include <windows.h>
#else

#include <stddef.h>
#include <stdint.h>

/* The types of Windows. A WCHAR has 16 bits on every system: strings are UTF-16, in C as u"...". */
typedef int32_t BOOL;
typedef uint8_t BOOLEAN;
typedef uint8_t UCHAR;
typedef uint16_t WCHAR;
typedef uint32_t DWORD;
typedef uint32_t ULONG;
typedef int64_t LONGLONG;
typedef uint64_t ULONGLONG;
typedef void *PVOID;
typedef const WCHAR *PCWSTR;
typedef DWORD *PDWORD;
typedef ULONG *PULONG;
typedef ULONGLONG *PULONGLONG;

typedef struct _FILETIME {
    DWORD dwLowDateTime;
    DWORD dwHighDateTime;
} FILETIME;

#define WINAPI
#ifndef CONST
#define CONST const
#endif
#ifndef TRUE
#define TRUE 1
#endif
#ifndef FALSE
#define FALSE 0
#endif

/* The last errors that the functions leave. */
#define ERROR_SUCCESS 0u
#define ERROR_FILE_NOT_FOUND 2u
#define ERROR_PATH_NOT_FOUND 3u
#define ERROR_ACCESS_DENIED 5u
#define ERROR_INVALID_HANDLE 6u
#define ERROR_NO_MORE_FILES 18u
#define ERROR_WRITE_PROTECT 19u
#define ERROR_WRITE_FAULT 29u
#define ERROR_SHARING_VIOLATION 32u
#define ERROR_NOT_SUPPORTED 50u
#define ERROR_FILE_EXISTS 80u
#define ERROR_INVALID_PARAMETER 87u
#define ERROR_DISK_FULL 112u
#define ERROR_INSUFFICIENT_BUFFER 122u
#define ERROR_FILENAME_EXCED_RANGE 206u
#define ERROR_PARTIAL_COPY 299u
#define ERROR_IO_DEVICE 1117u
#define ERROR_CANCELLED 1223u
#define ERROR_INTERNAL_ERROR 1359u
#define ERROR_FILE_CORRUPT 1392u
#define ERROR_NO_SYSTEM_RESOURCES 1450u

#endif /* _WIN32 */

#ifdef __cplusplus
extern "C" {
#endif

/* Versions. Version 1 is that of Windows Vista to 7, version 2 that of Windows 8 and later. */
#define FILE_RESTORE_MAJOR_VERSION_1 0x0001
#define FILE_RESTORE_MINOR_VERSION_1 0x0001
#define FILE_RESTORE_VERSION_1 ((FILE_RESTORE_MAJOR_VERSION_1 << 16) | FILE_RESTORE_MINOR_VERSION_1)
#define FILE_RESTORE_MAJOR_VERSION_2 0x0002
#define FILE_RESTORE_MINOR_VERSION_2 0x0000
#define FILE_RESTORE_VERSION_2 ((FILE_RESTORE_MAJOR_VERSION_2 << 16) | FILE_RESTORE_MINOR_VERSION_2)
#define FILE_RESTORE_VERSION_CURRENT FILE_RESTORE_VERSION_2

/* What DetectEncryptedVolume tells. */
#define VOLUME_INFO_ENCRYPTED 0x0001
#define VOLUME_INFO_LOCKED 0x0002

/* What a context is made of, exactly one of the first two, and what its scan lists. */
typedef enum _RESTORE_CONTEXT_FLAGS {
    ContextFlagVolume = 0x00000001,
    ContextFlagDisk = 0x00000002,
    FlagScanRemovedFiles = 0x00000004,
    FlagScanRegularFiles = 0x00000008,
    FlagScanIncludeRemovedDirectories = 0x00000010
} RESTORE_CONTEXT_FLAGS, *PRESTORE_CONTEXT_FLAGS;

/* Of this library: what version 2 made obsolete works in the context, whatever its version. */
#define ContextFlagExtended ((RESTORE_CONTEXT_FLAGS)0x80000000u)

typedef enum _BOOT_SECTOR_FILE_SYSTEM_TYPE {
    FileSystemUnknown = 0,
    FileSystemFAT12,
    FileSystemFAT16,
    FileSystemFAT32,
    FileSystemNTFS
} BOOT_SECTOR_FILE_SYSTEM_TYPE, *PBOOT_SECTOR_FILE_SYSTEM_TYPE;

/* The pages spell these so, the samples as above. */
#define FileSystemFat12 FileSystemFAT12
#define FileSystemFat16 FileSystemFAT16
#define FileSystemFat32 FileSystemFAT32
#define FileSystemNtfs FileSystemNTFS

typedef enum _FILE_RESTORE_PACKET_TYPE {
    FileRestoreProgressInfo = 100,
    FileRestoreFinished = 101
} FILE_RESTORE_PACKET_TYPE, *PFILE_RESTORE_PACKET_TYPE;

/* A context: a number that is never given twice, not an address. */
typedef PVOID PFILE_RESTORE_CONTEXT;

/* A file or directory that ScanRestorableFiles found. Its size varies: the name ends in 0, and private data follow. */
typedef struct _RESTORABLE_FILE_INFO {
    ULONG Size;
    DWORD Version;
    ULONGLONG FileSize;
    FILETIME CreationTime;
    FILETIME LastAccessTime;
    FILETIME LastWriteTime;
    DWORD Attributes;
    BOOL IsRemoved;
    LONGLONG ClustersUsedByFile;
    LONGLONG ClustersCurrentlyInUse;
    ULONG RestoreDataOffset;
    WCHAR FileName[1];
} RESTORABLE_FILE_INFO, *PRESTORABLE_FILE_INFO;

typedef struct _BOOT_SECTOR_INFO {
    LONGLONG TotalSectors;
    BOOT_SECTOR_FILE_SYSTEM_TYPE FileSystem;
    ULONG BytePerSector;
    ULONG SectorPerCluster;
    BOOL IsEncrypted;
} BOOT_SECTOR_INFO, *PBOOT_SECTOR_INFO;

/* The packet of FileRestoreProgressInfo; sizes are in bytes. */
typedef struct _FILE_RESTORE_PROGRESS_INFORMATION {
    LONGLONG TotalFileSize;
    LONGLONG TotalBytesCompleted;
    LONGLONG StreamSize;
    LONGLONG StreamBytesCompleted;
    PVOID ClbkArg;
} FILE_RESTORE_PROGRESS_INFORMATION, *PFILE_RESTORE_PROGRESS_INFORMATION;

/* The packet of FileRestoreFinished. */
typedef struct _FILE_RESTORE_FINISHED_INFORMATION {
    BOOL Success;
    ULONG FinalResult;
    PVOID ClbkArg;
} FILE_RESTORE_FINISHED_INFORMATION, *PFILE_RESTORE_FINISHED_INFORMATION;

/* Follows a restore; FALSE cancels it. */
typedef BOOLEAN (*FILE_RESTORE_CALLBACK)(FILE_RESTORE_PACKET_TYPE PacketType, ULONG PacketLength, PVOID PacketData);

#ifndef FMAPI_NO_PROTOTYPES

BOOL WINAPI CreateFileRestoreContext(PCWSTR Volume, RESTORE_CONTEXT_FLAGS Flags, LONGLONG StartSector,
                                     LONGLONG BootSector, DWORD Version, PFILE_RESTORE_CONTEXT *Context);

BOOL WINAPI CloseFileRestoreContext(PFILE_RESTORE_CONTEXT Context);

BOOL WINAPI ScanRestorableFiles(PFILE_RESTORE_CONTEXT Context, PCWSTR Path, ULONG FileInfoSize,
                                PRESTORABLE_FILE_INFO FileInfo, PULONG FileInfoUsed);

BOOL WINAPI RestoreFile(PFILE_RESTORE_CONTEXT Context, PRESTORABLE_FILE_INFO RestorableFile, PCWSTR DstFile,
                        FILE_RESTORE_CALLBACK Callback, PVOID ClbkArg);

BOOL WINAPI SupplyDecryptionInfo(PFILE_RESTORE_CONTEXT Context, PCWSTR RecoveryKeyFilePath, PVOID RecoveryPassword,
                                 PVOID KeyPackage, ULONG KeyPackageSize);

BOOL WINAPI DetectBootSector(CONST UCHAR *BootSector, PBOOT_SECTOR_INFO BootSectorParams);

BOOL WINAPI DetectEncryptedVolume(PFILE_RESTORE_CONTEXT Context, PDWORD VolumeEncryptionInfo);

BOOL WINAPI DetectEncryptedVolumeEx(PFILE_RESTORE_CONTEXT Context, PDWORD VolumeEncryptionInfo,
                                    PULONGLONG VolumeSize);

/* Of this library: the last error of the calling thread. */
uint32_t WINAPI FmapiGetLastError(void);

#endif /* FMAPI_NO_PROTOTYPES */

#ifdef __cplusplus
} /* extern "C" */

inline RESTORE_CONTEXT_FLAGS operator|(RESTORE_CONTEXT_FLAGS a, RESTORE_CONTEXT_FLAGS b)
{
    return static_cast<RESTORE_CONTEXT_FLAGS>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
#endif

/* Programs written for Windows ask for the last error so. */
#if !defined(_WIN32) && !defined(GetLastError)
#define GetLastError() FmapiGetLastError()
#endif

/* The layout. Every offset and size below is documented; a compiler that lays out otherwise cannot use the library. */
#ifdef __cplusplus
#define FMAPI_ASSERT(condition) static_assert(condition, #condition)
#else
#define FMAPI_ASSERT(condition) _Static_assert(condition, #condition)
#endif
#define FMAPI_AT(type, field, offset) FMAPI_ASSERT(offsetof(type, field) == (offset))

FMAPI_ASSERT(sizeof(WCHAR) == 2);
FMAPI_ASSERT(sizeof(BOOL) == 4);
FMAPI_ASSERT(sizeof(BOOLEAN) == 1);
FMAPI_ASSERT(sizeof(RESTORE_CONTEXT_FLAGS) == 4);
FMAPI_ASSERT(sizeof(BOOT_SECTOR_FILE_SYSTEM_TYPE) == 4);
FMAPI_ASSERT(sizeof(FILE_RESTORE_PACKET_TYPE) == 4);

FMAPI_ASSERT(sizeof(RESTORABLE_FILE_INFO) == 72);
FMAPI_AT(RESTORABLE_FILE_INFO, Size, 0);
FMAPI_AT(RESTORABLE_FILE_INFO, Version, 4);
FMAPI_AT(RESTORABLE_FILE_INFO, FileSize, 8);
FMAPI_AT(RESTORABLE_FILE_INFO, CreationTime, 16);
FMAPI_AT(RESTORABLE_FILE_INFO, LastAccessTime, 24);
FMAPI_AT(RESTORABLE_FILE_INFO, LastWriteTime, 32);
FMAPI_AT(RESTORABLE_FILE_INFO, Attributes, 40);
FMAPI_AT(RESTORABLE_FILE_INFO, IsRemoved, 44);
FMAPI_AT(RESTORABLE_FILE_INFO, ClustersUsedByFile, 48);
FMAPI_AT(RESTORABLE_FILE_INFO, ClustersCurrentlyInUse, 56);
FMAPI_AT(RESTORABLE_FILE_INFO, RestoreDataOffset, 64);
FMAPI_AT(RESTORABLE_FILE_INFO, FileName, 68);

FMAPI_ASSERT(sizeof(BOOT_SECTOR_INFO) == 24);
FMAPI_AT(BOOT_SECTOR_INFO, TotalSectors, 0);
FMAPI_AT(BOOT_SECTOR_INFO, FileSystem, 8);
FMAPI_AT(BOOT_SECTOR_INFO, BytePerSector, 12);
FMAPI_AT(BOOT_SECTOR_INFO, SectorPerCluster, 16);
FMAPI_AT(BOOT_SECTOR_INFO, IsEncrypted, 20);

FMAPI_ASSERT(sizeof(void *) != 8 || sizeof(FILE_RESTORE_PROGRESS_INFORMATION) == 40);
FMAPI_AT(FILE_RESTORE_PROGRESS_INFORMATION, TotalFileSize, 0);
FMAPI_AT(FILE_RESTORE_PROGRESS_INFORMATION, TotalBytesCompleted, 8);
FMAPI_AT(FILE_RESTORE_PROGRESS_INFORMATION, StreamSize, 16);
FMAPI_AT(FILE_RESTORE_PROGRESS_INFORMATION, StreamBytesCompleted, 24);
FMAPI_AT(FILE_RESTORE_PROGRESS_INFORMATION, ClbkArg, 32);

FMAPI_ASSERT(sizeof(FILE_RESTORE_FINISHED_INFORMATION) == (sizeof(void *) == 8 ? 16 : 12));
FMAPI_AT(FILE_RESTORE_FINISHED_INFORMATION, Success, 0);
FMAPI_AT(FILE_RESTORE_FINISHED_INFORMATION, FinalResult, 4);
FMAPI_AT(FILE_RESTORE_FINISHED_INFORMATION, ClbkArg, 8);

#undef FMAPI_AT
#undef FMAPI_ASSERT

#endif /* UNDELFS_FMAPI_H */
