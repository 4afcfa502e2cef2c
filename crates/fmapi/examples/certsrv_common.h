/* What the examples of Certificate Services share: the functions, and lists. */
#ifndef CERTSRV_EXAMPLES_COMMON_H
#define CERTSRV_EXAMPLES_COMMON_H

#include "common.h"

#define CERTSRV_NO_PROTOTYPES
#include "certsrv.h"

/* The functions of the library, by their own names. */
#define FUNCTION(type, name) static type *name UNUSED;
#define FUNCTIONS                                                                                                     \
    FUNCTION(FNCERTSRVISSERVERONLINEW, CertSrvIsServerOnlineW)                                                        \
    FUNCTION(FNCERTSRVBACKUPPREPAREW, CertSrvBackupPrepareW)                                                          \
    FUNCTION(FNCERTSRVBACKUPGETDATABASENAMESW, CertSrvBackupGetDatabaseNamesW)                                        \
    FUNCTION(FNCERTSRVBACKUPOPENFILEW, CertSrvBackupOpenFileW)                                                        \
    FUNCTION(FNCERTSRVBACKUPREAD, CertSrvBackupRead)                                                                  \
    FUNCTION(FNCERTSRVBACKUPCLOSE, CertSrvBackupClose)                                                                \
    FUNCTION(FNCERTSRVBACKUPGETBACKUPLOGSW, CertSrvBackupGetBackupLogsW)                                              \
    FUNCTION(FNCERTSRVBACKUPTRUNCATELOGS, CertSrvBackupTruncateLogs)                                                  \
    FUNCTION(FNCERTSRVBACKUPGETDYNAMICFILELISTW, CertSrvBackupGetDynamicFileListW)                                    \
    FUNCTION(FNCERTSRVBACKUPEND, CertSrvBackupEnd)                                                                    \
    FUNCTION(FNCERTSRVBACKUPFREE, CertSrvBackupFree)                                                                  \
    FUNCTION(FNCERTSRVRESTOREGETDATABASELOCATIONSW, CertSrvRestoreGetDatabaseLocationsW)                              \
    FUNCTION(FNCERTSRVRESTOREPREPAREW, CertSrvRestorePrepareW)                                                        \
    FUNCTION(FNCERTSRVRESTOREREGISTERW, CertSrvRestoreRegisterW)                                                      \
    FUNCTION(FNCERTSRVRESTOREREGISTERW, CertSrvRestoreRegisterThroughFile)                                            \
    FUNCTION(FNCERTSRVRESTOREREGISTERCOMPLETE, CertSrvRestoreRegisterComplete)                                        \
    FUNCTION(FNCERTSRVRESTOREEND, CertSrvRestoreEnd)                                                                  \
    FUNCTION(FNCERTSRVSERVERCONTROLW, CertSrvServerControlW)
FUNCTIONS
#undef FUNCTION
static HRESULT(WINAPI *CertSrvSupplyDecryptionInfo)(WCHAR const *, WCHAR const *, WCHAR const *) UNUSED;

static void load_certsrv(void)
{
    load();
#define FUNCTION(type, name) find(&name, #name);
    FUNCTIONS
#undef FUNCTION
    find(&CertSrvSupplyDecryptionInfo, "CertSrvSupplyDecryptionInfo");
}

/* The string behind one of a list; NULL behind the last. */
UNUSED static const WCHAR *next_of_list(const WCHAR *string)
{
    while (*string != 0) {
        string++;
    }
    return string[1] != 0 ? string + 1 : NULL;
}

#endif
