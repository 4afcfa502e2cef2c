/*
 * Certificate Services backup and restore: the functions of certadm.dll over disk images, devices and folders.
 *
 * Names, types and values are those of Microsoft's certbcli.h. docs/certsrv.md says how this library behaves. Link with
 * -lfmapi, or load the library with dlopen; the types FNCERTSRV... are those of its functions.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef UNDELFS_CERTSRV_H
#define UNDELFS_CERTSRV_H

#ifdef _WIN32
#include <windows.h>
#else

#include <stddef.h>
#include <stdint.h>

#ifndef UNDELFS_FMAPI_H
/* The types of Windows. A WCHAR has 16 bits on every system: strings are UTF-16, in C as u"...". */
typedef int32_t BOOL;
typedef uint16_t WCHAR;
typedef uint32_t DWORD;
typedef uint32_t ULONG;
#define WINAPI
#ifndef TRUE
#define TRUE 1
#endif
#ifndef FALSE
#define FALSE 0
#endif
#endif
typedef int32_t LONG;
typedef int32_t HRESULT;
typedef uint8_t BYTE;
typedef WCHAR *PWSTR;

typedef union _LARGE_INTEGER {
    struct {
        DWORD LowPart;
        LONG HighPart;
    } u;
    int64_t QuadPart;
} LARGE_INTEGER;

#define S_OK ((HRESULT)0)
#define E_ACCESSDENIED ((HRESULT)0x80070005u)
#define E_HANDLE ((HRESULT)0x80070006u)
#define E_INVALIDARG ((HRESULT)0x80070057u)
#define E_UNEXPECTED ((HRESULT)0x8000FFFFu)

#endif /* _WIN32 */

#ifdef __cplusplus
extern "C" {
#endif

/* Those of the HRESULTs that the functions return and winerror.h does not have. */
#define hrRestoreInProgress ((HRESULT)0xC7FF0004u)
#define hrRestoreMapExists ((HRESULT)0xC7FF0008u)
#define hrLogFileNotFound ((HRESULT)0xC7FF000Au)
#define hrNoFullRestore ((HRESULT)0xC7FF000Cu)
#define hrInvalidBackupSequence ((HRESULT)0xC8000209u)
#define hrMissingLogFile ((HRESULT)0xC8000210u)
#define hrDatabaseInconsistent ((HRESULT)0xC8000226u)
#define hrRestoreLogTooLow ((HRESULT)0xC8000229u)
#define hrRestoreLogTooHigh ((HRESULT)0xC800022Au)
#define hrGivenLogFileHasBadSignature ((HRESULT)0xC800022Bu)
#define hrGivenLogFileIsNotContiguous ((HRESULT)0xC800022Cu)
#define hrMissingRestoreLogFiles ((HRESULT)0xC800022Du)
#define hrMissingFullBackup ((HRESULT)0xC8000230u)
#define hrBadBackupDatabaseSize ((HRESULT)0xC8000231u)

/* What is backed up. */
#define CSBACKUP_TYPE_FULL 0x00000001
#define CSBACKUP_TYPE_LOGS_ONLY 0x00000002
#define CSBACKUP_TYPE_MASK 0x00000003
#define CSBACKUP_DISABLE_INCREMENTAL 0xFFFFFFFF

/* What is restored; without the flag a set of logs. */
#define CSRESTORE_TYPE_FULL 0x00000001
#define CSRESTORE_TYPE_ONLINE 0x00000002
#define CSRESTORE_TYPE_CATCHUP 0x00000004
#define CSRESTORE_TYPE_MASK 0x00000005

#define CSCONTROL_SHUTDOWN 0x000000001UL
#define CSCONTROL_SUSPEND 0x000000002UL
#define CSCONTROL_RESTART 0x000000003UL

/* The tags in front of the strings of a list. */
typedef WCHAR CSBFT;
#define CSBFT_DIRECTORY 0x80
#define CSBFT_DATABASE_DIRECTORY 0x40
#define CSBFT_LOG_DIRECTORY 0x20
#define CSBFT_LOG ((CSBFT)(0x01 | CSBFT_LOG_DIRECTORY))
#define CSBFT_LOG_DIR ((CSBFT)(0x02 | CSBFT_DIRECTORY))
#define CSBFT_CHECKPOINT_DIR ((CSBFT)(0x03 | CSBFT_DIRECTORY))
#define CSBFT_CERTSERVER_DATABASE ((CSBFT)(0x04 | CSBFT_DATABASE_DIRECTORY))
#define CSBFT_PATCH_FILE ((CSBFT)(0x05 | CSBFT_LOG_DIRECTORY))
#define CSBFT_UNKNOWN ((CSBFT)(0x0F))

/* A session: a number that is never given twice, not an address. */
typedef void *HCSBC;

/* A database in the backup, and where it goes. */
typedef struct tagCSEDB_RSTMAPW {
    PWSTR pwszDatabaseName;
    PWSTR pwszNewDatabaseName;
} CSEDB_RSTMAPW;

typedef HRESULT(WINAPI FNCERTSRVISSERVERONLINEW)(WCHAR const *pwszServerName, BOOL *pfServerOnline);
typedef HRESULT(WINAPI FNCERTSRVBACKUPPREPAREW)(WCHAR const *pwszServerName, ULONG grbitJet, ULONG dwBackupFlags,
                                                HCSBC *phbc);
typedef HRESULT(WINAPI FNCERTSRVBACKUPGETDATABASENAMESW)(HCSBC hbc, PWSTR *ppwszzAttachmentInformation, DWORD *pcbSize);
typedef HRESULT(WINAPI FNCERTSRVBACKUPOPENFILEW)(HCSBC hbc, WCHAR const *pwszAttachmentName, DWORD cbReadHintSize,
                                                 LARGE_INTEGER *pliFileSize);
typedef HRESULT(WINAPI FNCERTSRVBACKUPREAD)(HCSBC hbc, void *pvBuffer, DWORD cbBuffer, DWORD *pcbRead);
typedef HRESULT(WINAPI FNCERTSRVBACKUPCLOSE)(HCSBC hbc);
typedef HRESULT(WINAPI FNCERTSRVBACKUPGETBACKUPLOGSW)(HCSBC hbc, PWSTR *ppwszzBackupLogFiles, DWORD *pcbSize);
typedef HRESULT(WINAPI FNCERTSRVBACKUPTRUNCATELOGS)(HCSBC hbc);
typedef HRESULT(WINAPI FNCERTSRVBACKUPGETDYNAMICFILELISTW)(HCSBC hbc, PWSTR *ppwszzFileList, DWORD *pcbSize);
typedef HRESULT(WINAPI FNCERTSRVBACKUPEND)(HCSBC hbc);
typedef void(WINAPI FNCERTSRVBACKUPFREE)(void *pv);
typedef HRESULT(WINAPI FNCERTSRVRESTOREGETDATABASELOCATIONSW)(HCSBC hbc, PWSTR *ppwszzDatabaseLocationList,
                                                              DWORD *pcbSize);
typedef HRESULT(WINAPI FNCERTSRVRESTOREPREPAREW)(WCHAR const *pwszServerName, ULONG dwRestoreFlags, HCSBC *phbc);
typedef HRESULT(WINAPI FNCERTSRVRESTOREREGISTERW)(HCSBC hbc, WCHAR const *pwszCheckPointFilePath,
                                                  WCHAR const *pwszLogPath, CSEDB_RSTMAPW rgrstmap[], LONG crstmap,
                                                  WCHAR const *pwszBackupLogPath, ULONG genLow, ULONG genHigh);
typedef HRESULT(WINAPI FNCERTSRVRESTOREREGISTERCOMPLETE)(HCSBC hbc, HRESULT hrRestoreState);
typedef HRESULT(WINAPI FNCERTSRVRESTOREEND)(HCSBC hbc);
typedef HRESULT(WINAPI FNCERTSRVSERVERCONTROLW)(WCHAR const *pwszServerName, DWORD dwControlFlags, DWORD *pcbOut,
                                                BYTE **ppbOut);

#ifndef CERTSRV_NO_PROTOTYPES

FNCERTSRVISSERVERONLINEW CertSrvIsServerOnlineW;
FNCERTSRVBACKUPPREPAREW CertSrvBackupPrepareW;
FNCERTSRVBACKUPGETDATABASENAMESW CertSrvBackupGetDatabaseNamesW;
FNCERTSRVBACKUPOPENFILEW CertSrvBackupOpenFileW;
FNCERTSRVBACKUPREAD CertSrvBackupRead;
FNCERTSRVBACKUPCLOSE CertSrvBackupClose;
FNCERTSRVBACKUPGETBACKUPLOGSW CertSrvBackupGetBackupLogsW;
FNCERTSRVBACKUPTRUNCATELOGS CertSrvBackupTruncateLogs;
FNCERTSRVBACKUPGETDYNAMICFILELISTW CertSrvBackupGetDynamicFileListW;
FNCERTSRVBACKUPEND CertSrvBackupEnd;
FNCERTSRVBACKUPFREE CertSrvBackupFree;
FNCERTSRVRESTOREGETDATABASELOCATIONSW CertSrvRestoreGetDatabaseLocationsW;
FNCERTSRVRESTOREPREPAREW CertSrvRestorePrepareW;
FNCERTSRVRESTOREREGISTERW CertSrvRestoreRegisterW;
FNCERTSRVRESTOREREGISTERW CertSrvRestoreRegisterThroughFile;
FNCERTSRVRESTOREREGISTERCOMPLETE CertSrvRestoreRegisterComplete;
FNCERTSRVRESTOREEND CertSrvRestoreEnd;
FNCERTSRVSERVERCONTROLW CertSrvServerControlW;

/* Of this library: keeps keys for the encrypted volumes of a source, until both are NULL. */
HRESULT WINAPI CertSrvSupplyDecryptionInfo(WCHAR const *pwszServerName, WCHAR const *pwszRecoveryKeyFilePath,
                                           WCHAR const *pwszRecoveryPassword);

#endif

#define CertSrvIsServerOnline CertSrvIsServerOnlineW
#define CertSrvBackupPrepare CertSrvBackupPrepareW
#define CertSrvBackupGetDatabaseNames CertSrvBackupGetDatabaseNamesW
#define CertSrvBackupOpenFile CertSrvBackupOpenFileW
#define CertSrvBackupGetBackupLogs CertSrvBackupGetBackupLogsW
#define CertSrvBackupGetDynamicFileList CertSrvBackupGetDynamicFileListW
#define CertSrvRestoreGetDatabaseLocations CertSrvRestoreGetDatabaseLocationsW
#define CertSrvRestorePrepare CertSrvRestorePrepareW
#define CertSrvRestoreRegister CertSrvRestoreRegisterW
#define CertSrvServerControl CertSrvServerControlW

#ifdef __cplusplus
}
#endif

#endif
