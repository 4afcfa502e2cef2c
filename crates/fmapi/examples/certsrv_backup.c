/*
 * Backs up a certification authority as the pages of Certificate Services describe it, in this order: the restore map, the
 * database, the logs. Files get the last name of their paths, the map is certbkxp.dat.
 *
 * certsrv_backup SOURCE FOLDER full|logs [RECOVERY-PASSWORD]
 */
#include "certsrv_common.h"

static const char *folder;

static void stop(const char *what, HRESULT code)
{
    fprintf(stderr, "%s: %#010x\n", what, (unsigned)code);
    exit(EXIT_FAILURE);
}

#define NEED(call)                                                                                                    \
    do {                                                                                                              \
        HRESULT code = (call);                                                                                        \
        if (code != S_OK)                                                                                             \
            stop(#call, code);                                                                                        \
    } while (0)

static FILE *create(const WCHAR *path)
{
    char name[MAX_UNITS];
    const WCHAR *last = path;
    for (const WCHAR *at = path; *at != 0; at++) {
        last = *at == '\\' ? at + 1 : last;
    }
    int length = snprintf(name, sizeof name, "%s/", folder);
    /* The names of the example are of ASCII. */
    for (; *last != 0 && length < (int)sizeof name - 1; last++) {
        name[length++] = (char)*last;
    }
    name[length] = 0;
    FILE *file = fopen(name, "wbx");
    if (file == NULL) {
        perror(name);
        exit(EXIT_FAILURE);
    }
    return file;
}

static void copy(HCSBC session, const WCHAR *path)
{
    static char buffer[65536];
    LARGE_INTEGER size;
    int64_t done = 0;
    FILE *file = create(path);
    NEED(CertSrvBackupOpenFileW(session, path, 0, &size));
    for (;;) {
        DWORD read;
        NEED(CertSrvBackupRead(session, buffer, sizeof buffer, &read));
        if (read == 0) {
            break;
        }
        fwrite(buffer, 1, read, file);
        done += read;
    }
    NEED(CertSrvBackupClose(session));
    if (fclose(file) != 0 || done != size.QuadPart) {
        stop("a file was not copied in full", E_UNEXPECTED);
    }
}

static void copy_all(HCSBC session, PWSTR list)
{
    for (const WCHAR *entry = list; entry != NULL; entry = next_of_list(entry)) {
        printf("%c ", (char)*entry);
        print_utf16(entry + 1);
        putchar('\n');
        copy(session, entry + 1);
    }
    CertSrvBackupFree(list);
}

int main(int count, char **arguments)
{
    static WCHAR server[MAX_UNITS], password[MAX_UNITS];
    BOOL online, full;
    HCSBC session;
    PWSTR list;
    DWORD size;

    if (count < 4) {
        fprintf(stderr, "usage: %s SOURCE FOLDER full|logs [RECOVERY-PASSWORD]\n", arguments[0]);
        return 2;
    }
    load_certsrv();
    to_utf16(arguments[1], server);
    folder = arguments[2];
    full = strcmp(arguments[3], "full") == 0;
    if (count > 4) {
        to_utf16(arguments[4], password);
        NEED(CertSrvSupplyDecryptionInfo(server, NULL, password));
    }
    NEED(CertSrvIsServerOnlineW(server, &online));
    NEED(CertSrvBackupPrepareW(server, 0, full ? CSBACKUP_TYPE_FULL : CSBACKUP_TYPE_LOGS_ONLY, &session));
    NEED(CertSrvRestoreGetDatabaseLocationsW(session, &list, &size));
    FILE *map = create(u"certbkxp.dat");
    fwrite(list, 1, size, map);
    fclose(map);
    CertSrvBackupFree(list);
    if (full) {
        NEED(CertSrvBackupGetDatabaseNamesW(session, &list, &size));
        copy_all(session, list);
    }
    NEED(CertSrvBackupGetBackupLogsW(session, &list, &size));
    copy_all(session, list);
    NEED(CertSrvBackupTruncateLogs(session));
    NEED(CertSrvBackupGetDynamicFileListW(session, &list, &size));
    for (const WCHAR *entry = list; entry != NULL; entry = next_of_list(entry)) {
        printf("keep ");
        print_utf16(entry);
        putchar('\n');
    }
    CertSrvBackupFree(list);
    NEED(CertSrvBackupEnd(session));
    NEED(CertSrvSupplyDecryptionInfo(server, NULL, NULL));
    return EXIT_SUCCESS;
}
