/*
 * Checks the contract of the Certificate Services functions, a case for each row of the documented tables.
 * PROGRAM CASE SERVER FOLDER: a folder with the files of a certification authority that needs its three logs, and an
 * empty folder.
 */
#include "certsrv_common.h"

#include <sys/stat.h>
#include <unistd.h>

#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                                   \
            exit(EXIT_FAILURE);                                                                                       \
        }                                                                                                             \
    } while (0)

#define IS(call, code)                                                                                                \
    do {                                                                                                              \
        HRESULT found = (call);                                                                                       \
        if (found != (HRESULT)(code)) {                                                                               \
            fprintf(stderr, "line %d: %s: %#010x\n", __LINE__, #call, (unsigned)found);                               \
            exit(EXIT_FAILURE);                                                                                       \
        }                                                                                                             \
    } while (0)

static WCHAR server[MAX_UNITS];
static const char *folder;
static char buffer[1 << 16];

static HCSBC prepared(ULONG type)
{
    HCSBC session = NULL;
    IS(CertSrvBackupPrepareW(server, 0, type, &session), S_OK);
    CHECK(session != NULL);
    return session;
}

static PWSTR names(HCSBC session)
{
    PWSTR list;
    DWORD size;
    IS(CertSrvBackupGetDatabaseNamesW(session, &list, &size), S_OK);
    CHECK(list != NULL && list[0] == CSBFT_CERTSERVER_DATABASE && list[size / 2 - 1] == 0 && list[size / 2 - 2] == 0);
    return list;
}

static PWSTR logs(HCSBC session)
{
    PWSTR list;
    DWORD size;
    IS(CertSrvBackupGetBackupLogsW(session, &list, &size), S_OK);
    CHECK(list != NULL && list[0] == CSBFT_LOG && size % 2 == 0);
    return list;
}

static void read_all(HCSBC session, const WCHAR *name)
{
    LARGE_INTEGER size;
    int64_t done = 0;
    DWORD read = 1;
    IS(CertSrvBackupOpenFileW(session, name, 0, &size), S_OK);
    while (read > 0) {
        IS(CertSrvBackupRead(session, buffer, sizeof buffer, &read), S_OK);
        done += read;
    }
    CHECK(done == size.QuadPart);
    /* At the end a read succeeds without bytes, however often. */
    IS(CertSrvBackupRead(session, buffer, sizeof buffer, &read), S_OK);
    CHECK(read == 0);
    IS(CertSrvBackupClose(session), S_OK);
}

static void idle_prepare_of_either_type_is_prepared(void)
{
    IS(CertSrvBackupEnd(prepared(CSBACKUP_TYPE_FULL)), S_OK);
    IS(CertSrvBackupEnd(prepared(CSBACKUP_TYPE_LOGS_ONLY)), S_OK);
}

static void prepare_again_is_unexpected_and_works_after_the_end(void)
{
    HCSBC session = prepared(CSBACKUP_TYPE_FULL), other = &other;
    IS(CertSrvBackupPrepareW(server, 0, CSBACKUP_TYPE_FULL, &other), E_UNEXPECTED);
    CHECK(other == NULL);
    IS(CertSrvBackupEnd(session), S_OK);
    IS(CertSrvBackupEnd(prepared(CSBACKUP_TYPE_FULL)), S_OK);
}

static void open_of_a_listed_name_reads_and_closes(void)
{
    HCSBC session = prepared(CSBACKUP_TYPE_FULL);
    PWSTR list = names(session);
    read_all(session, list + 1);
    /* And again: a file can be read as often as one likes. */
    read_all(session, list + 1);
    CertSrvBackupFree(list);
    IS(CertSrvBackupEnd(session), S_OK);
}

static void open_while_a_file_is_open_is_unexpected(void)
{
    HCSBC session = prepared(CSBACKUP_TYPE_FULL);
    PWSTR list = names(session), other;
    LARGE_INTEGER size;
    DWORD count;
    IS(CertSrvBackupOpenFileW(session, list + 1, 0, &size), S_OK);
    IS(CertSrvBackupOpenFileW(session, list + 1, 0, &size), E_UNEXPECTED);
    /* So is all that is not reading, closing and ending. */
    IS(CertSrvBackupGetDatabaseNamesW(session, &other, &count), E_UNEXPECTED);
    CHECK(other == NULL && count == 0);
    IS(CertSrvBackupGetBackupLogsW(session, &other, &count), E_UNEXPECTED);
    IS(CertSrvBackupGetDynamicFileListW(session, &other, &count), E_UNEXPECTED);
    IS(CertSrvBackupTruncateLogs(session), E_UNEXPECTED);
    IS(CertSrvBackupRead(session, buffer, 16, &count), S_OK);
    CHECK(count == 16);
    CertSrvBackupFree(list);
    IS(CertSrvBackupEnd(session), S_OK);
}

static void read_and_close_without_an_open_file_are_unexpected(void)
{
    HCSBC session = prepared(CSBACKUP_TYPE_FULL);
    DWORD read = 7;
    IS(CertSrvBackupRead(session, buffer, sizeof buffer, &read), E_UNEXPECTED);
    CHECK(read == 0);
    IS(CertSrvBackupClose(session), E_UNEXPECTED);
    IS(CertSrvBackupEnd(session), S_OK);
}

static void open_before_any_list_is_unexpected_and_of_another_name_file_not_found(void)
{
    HCSBC session = prepared(CSBACKUP_TYPE_FULL);
    LARGE_INTEGER size;
    IS(CertSrvBackupOpenFileW(session, u"x", 0, &size), E_UNEXPECTED);
    PWSTR list = names(session);
    IS(CertSrvBackupOpenFileW(session, u"x", 0, &size), 0x80070002);
    /* The tag is no part of a name. */
    IS(CertSrvBackupOpenFileW(session, list, 0, &size), 0x80070002);
    CertSrvBackupFree(list);
    IS(CertSrvBackupEnd(session), S_OK);
}

static void database_names_without_a_full_prepare_are_an_invalid_sequence(void)
{
    HCSBC session = prepared(CSBACKUP_TYPE_LOGS_ONLY);
    PWSTR list;
    DWORD size;
    IS(CertSrvBackupGetDatabaseNamesW(session, &list, &size), 0xC8000209);
    CHECK(list == NULL && size == 0);
    IS(CertSrvBackupEnd(session), S_OK);
}

static void a_database_after_the_logs_is_an_invalid_sequence(void)
{
    HCSBC session = prepared(CSBACKUP_TYPE_FULL);
    PWSTR databases = names(session), list = logs(session);
    LARGE_INTEGER size;
    IS(CertSrvBackupOpenFileW(session, databases + 1, 0, &size), 0xC8000209);
    read_all(session, list + 1);
    CertSrvBackupFree(databases);
    CertSrvBackupFree(list);
    IS(CertSrvBackupEnd(session), S_OK);
}

static void truncate_with_all_read_works_once_and_removes_nothing(void)
{
    HCSBC session = prepared(CSBACKUP_TYPE_FULL);
    PWSTR list = names(session);
    LARGE_INTEGER size;
    read_all(session, list + 1);
    CertSrvBackupFree(list);
    list = logs(session);
    for (const WCHAR *entry = list; entry != NULL; entry = next_of_list(entry)) {
        read_all(session, entry + 1);
    }
    IS(CertSrvBackupTruncateLogs(session), S_OK);
    IS(CertSrvBackupTruncateLogs(session), E_UNEXPECTED);
    IS(CertSrvBackupOpenFileW(session, list + 1, 0, &size), E_UNEXPECTED);
    CertSrvBackupFree(list);
    IS(CertSrvBackupEnd(session), S_OK);
    /* The source has them still. */
    session = prepared(CSBACKUP_TYPE_FULL);
    list = logs(session);
    read_all(session, list + 1);
    CertSrvBackupFree(list);
    IS(CertSrvBackupEnd(session), S_OK);
}

static void truncate_with_something_unread_is_unexpected(void)
{
    HCSBC session = prepared(CSBACKUP_TYPE_FULL);
    DWORD read;
    LARGE_INTEGER size;
    IS(CertSrvBackupTruncateLogs(session), E_UNEXPECTED);
    PWSTR databases = names(session);
    IS(CertSrvBackupOpenFileW(session, databases + 1, 0, &size), S_OK);
    IS(CertSrvBackupRead(session, buffer, 100, &read), S_OK);
    IS(CertSrvBackupClose(session), S_OK);
    PWSTR list = logs(session);
    for (const WCHAR *entry = list; entry != NULL; entry = next_of_list(entry)) {
        read_all(session, entry + 1);
    }
    /* Only the begin of the database was read. */
    IS(CertSrvBackupTruncateLogs(session), E_UNEXPECTED);
    CertSrvBackupFree(databases);
    CertSrvBackupFree(list);
    IS(CertSrvBackupEnd(session), S_OK);
    /* In a session of logs they alone count. */
    session = prepared(CSBACKUP_TYPE_LOGS_ONLY);
    list = logs(session);
    read_all(session, list + 1);
    IS(CertSrvBackupTruncateLogs(session), E_UNEXPECTED);
    for (const WCHAR *entry = list; entry != NULL; entry = next_of_list(entry)) {
        read_all(session, entry + 1);
    }
    IS(CertSrvBackupTruncateLogs(session), S_OK);
    CertSrvBackupFree(list);
    IS(CertSrvBackupEnd(session), S_OK);
}

static void end_works_in_every_state_and_its_handle_is_gone(void)
{
    HCSBC session = prepared(CSBACKUP_TYPE_FULL);
    PWSTR list = names(session);
    LARGE_INTEGER size;
    DWORD count;
    IS(CertSrvBackupOpenFileW(session, list + 1, 0, &size), S_OK);
    IS(CertSrvBackupEnd(session), S_OK);
    IS(CertSrvBackupEnd(session), E_HANDLE);
    IS(CertSrvBackupClose(session), E_HANDLE);
    IS(CertSrvBackupRead(session, buffer, 1, &count), E_HANDLE);
    IS(CertSrvBackupTruncateLogs(session), E_HANDLE);
    IS(CertSrvBackupEnd(NULL), E_HANDLE);
    IS(CertSrvBackupEnd((HCSBC)(uintptr_t)0x12345678), E_HANDLE);
    /* Lists outlive the session. */
    CHECK(list[0] == CSBFT_CERTSERVER_DATABASE);
    CertSrvBackupFree(list);
    CertSrvBackupFree(list);
    CertSrvBackupFree(NULL);
    CertSrvBackupFree(buffer);
    /* A restore is no backup. */
    IS(CertSrvRestorePrepareW(server, CSRESTORE_TYPE_FULL, &session), S_OK);
    IS(CertSrvBackupEnd(session), E_HANDLE);
    IS(CertSrvRestoreEnd(session), S_OK);
}

static void wrong_arguments_are_invalid_and_no_server_is_unavailable(void)
{
    HCSBC session;
    BOOL online = 7;
    IS(CertSrvBackupPrepareW(server, 0, 0, &session), E_INVALIDARG);
    IS(CertSrvBackupPrepareW(server, 0, 3, &session), E_INVALIDARG);
    IS(CertSrvBackupPrepareW(server, 0, 4, &session), E_INVALIDARG);
    IS(CertSrvBackupPrepareW(server, 1, CSBACKUP_TYPE_FULL, &session), E_INVALIDARG);
    IS(CertSrvBackupPrepareW(NULL, 0, CSBACKUP_TYPE_FULL, &session), E_INVALIDARG);
    IS(CertSrvBackupPrepareW(u"", 0, CSBACKUP_TYPE_FULL, &session), E_INVALIDARG);
    IS(CertSrvBackupPrepareW(server, 0, CSBACKUP_TYPE_FULL, NULL), E_INVALIDARG);
    IS(CertSrvBackupPrepareW(u"/no/such/source", 0, CSBACKUP_TYPE_FULL, &session), 0x800706BA);
    IS(CertSrvIsServerOnlineW(u"/no/such/source", &online), 0x800706BA);
    CHECK(!online);
    IS(CertSrvIsServerOnlineW(server, NULL), E_INVALIDARG);
    IS(CertSrvIsServerOnlineW(server, &online), S_OK);
    CHECK(online == TRUE);
    /* A failed Prepare leaves nothing in progress. */
    IS(CertSrvBackupEnd(prepared(CSBACKUP_TYPE_FULL)), S_OK);
}

static void a_name_behind_the_server_says_which_authority(void)
{
    static WCHAR named[MAX_UNITS];
    size_t n = 0;
    HCSBC session;
    for (; server[n] != 0; n++) {
        named[n] = server[n];
    }
    memcpy(named + n, u"\\Example Issuing CA 1", 22 * sizeof(WCHAR));
    IS(CertSrvBackupPrepareW(named, 0, CSBACKUP_TYPE_FULL, &session), S_OK);
    IS(CertSrvBackupEnd(session), S_OK);
    memcpy(named + n, u"\\Another CA", 12 * sizeof(WCHAR));
    IS(CertSrvBackupPrepareW(named, 0, CSBACKUP_TYPE_FULL, &session), 0x800706BA);
}

static void locations_come_with_either_handle(void)
{
    HCSBC backup = prepared(CSBACKUP_TYPE_FULL), restore;
    PWSTR one, other;
    DWORD size, same;
    IS(CertSrvRestorePrepareW(server, CSRESTORE_TYPE_FULL, &restore), S_OK);
    IS(CertSrvRestoreGetDatabaseLocationsW(backup, &one, &size), S_OK);
    IS(CertSrvRestoreGetDatabaseLocationsW(restore, &other, &same), S_OK);
    CHECK(size == same && memcmp(one, other, size) == 0);
    const WCHAR *logs_entry = next_of_list(one), *system_entry = next_of_list(logs_entry);
    CHECK(one[0] == CSBFT_CERTSERVER_DATABASE && logs_entry[0] == CSBFT_LOG_DIR);
    CHECK(system_entry[0] == CSBFT_CHECKPOINT_DIR && next_of_list(system_entry) == NULL);
    CHECK(one[1] == '\\' && one[2] == '\\');
    CertSrvBackupFree(one);
    CertSrvBackupFree(other);
    IS(CertSrvRestoreGetDatabaseLocationsW((HCSBC)(uintptr_t)4004, &one, &size), E_HANDLE);
    IS(CertSrvBackupEnd(backup), S_OK);
    IS(CertSrvRestoreEnd(restore), S_OK);
}

static void no_dynamic_files_are_success_with_a_count_of_0(void)
{
    HCSBC session = prepared(CSBACKUP_TYPE_FULL);
    PWSTR list = server;
    DWORD size = 9;
    IS(CertSrvBackupGetDynamicFileListW(session, &list, &size), S_OK);
    CHECK(list == NULL && size == 0);
    IS(CertSrvBackupEnd(session), S_OK);
}

static void control_takes_three_commands(void)
{
    DWORD size = 3;
    BYTE *out = (BYTE *)buffer;
    IS(CertSrvServerControlW(server, CSCONTROL_SHUTDOWN, &size, &out), S_OK);
    CHECK(size == 0 && out == NULL);
    IS(CertSrvServerControlW(server, CSCONTROL_SUSPEND, NULL, NULL), S_OK);
    IS(CertSrvServerControlW(server, CSCONTROL_RESTART, NULL, NULL), S_OK);
    IS(CertSrvServerControlW(server, 0, NULL, NULL), E_INVALIDARG);
    IS(CertSrvServerControlW(server, 4, NULL, NULL), E_INVALIDARG);
}

/* Restores. The set is made by a backup first. */

static WCHAR set[MAX_UNITS], target[MAX_UNITS], target_logs[MAX_UNITS], database[MAX_UNITS];

static void save(HCSBC session, const WCHAR *name, const char *as)
{
    char path[MAX_UNITS];
    LARGE_INTEGER size;
    DWORD read;
    snprintf(path, sizeof path, "%s/set/%s", folder, as);
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL);
    IS(CertSrvBackupOpenFileW(session, name, 0, &size), S_OK);
    do {
        IS(CertSrvBackupRead(session, buffer, sizeof buffer, &read), S_OK);
        fwrite(buffer, 1, read, file);
    } while (read > 0);
    IS(CertSrvBackupClose(session), S_OK);
    CHECK(fclose(file) == 0);
}

static void make_set(void)
{
    char path[MAX_UNITS];
    unsigned number = 1;
    HCSBC session = prepared(CSBACKUP_TYPE_FULL);
    snprintf(path, sizeof path, "%s/set", folder);
    CHECK(mkdir(path, 0777) == 0);
    to_utf16(path, set);
    snprintf(path, sizeof path, "%s/new/CA.edb", folder);
    to_utf16(path, target);
    snprintf(path, sizeof path, "%s/new", folder);
    to_utf16(path, target_logs);
    PWSTR list = names(session);
    save(session, list + 1, "CA.edb");
    CertSrvBackupFree(list);
    list = logs(session);
    for (const WCHAR *entry = list; entry != NULL; entry = next_of_list(entry)) {
        snprintf(path, sizeof path, "edb%05X.log", number++);
        save(session, entry + 1, path);
    }
    CertSrvBackupFree(list);
    IS(CertSrvBackupEnd(session), S_OK);
    to_utf16("\\\\CA01\\C$\\Windows\\system32\\CertLog\\CA.edb", database);
}

static HCSBC restoring(void)
{
    HCSBC session;
    make_set();
    IS(CertSrvRestorePrepareW(set, CSRESTORE_TYPE_FULL, &session), S_OK);
    return session;
}

static HRESULT registered(HCSBC session, ULONG low, ULONG high)
{
    CSEDB_RSTMAPW map = {database, target};
    return CertSrvRestoreRegisterW(session, NULL, target_logs, &map, 1, set, low, high);
}

static BOOL is_there(const char *name)
{
    char path[MAX_UNITS];
    snprintf(path, sizeof path, "%s/new/%s", folder, name);
    return access(path, F_OK) == 0;
}

static void restore_copies_and_names_files_when_it_is_complete(void)
{
    HCSBC session = restoring();
    IS(registered(session, 1, 3), S_OK);
    CHECK(!is_there("CA.edb") && !is_there("edb00001.log") && is_there("RestoreInProgress.json"));
    IS(CertSrvRestoreRegisterComplete(session, S_OK), S_OK);
    CHECK(is_there("CA.edb") && is_there("edb00001.log") && is_there("edb00003.log"));
    IS(CertSrvRestoreEnd(session), S_OK);
    CHECK(!is_there("RestoreInProgress.json") && !is_there("CA.edb.undelfs-partial"));
    IS(CertSrvRestoreEnd(session), E_HANDLE);
}

static void restore_registers_one_set_at_a_time(void)
{
    HCSBC session = restoring(), other;
    IS(CertSrvRestoreRegisterComplete(session, S_OK), E_UNEXPECTED);
    IS(registered(session, 1, 3), S_OK);
    IS(registered(session, 1, 3), hrRestoreInProgress);
    /* Another session may go on with the same set, and with no other. */
    IS(CertSrvRestorePrepareW(set, CSRESTORE_TYPE_FULL, &other), S_OK);
    CSEDB_RSTMAPW map = {database, target};
    IS(CertSrvRestoreRegisterW(other, NULL, target_logs, &map, 1, set, 2, 3), hrRestoreInProgress);
    IS(registered(other, 1, 3), S_OK);
    IS(CertSrvRestoreRegisterComplete(other, S_OK), S_OK);
    IS(CertSrvRestoreEnd(other), S_OK);
    IS(CertSrvRestoreEnd(session), S_OK);
    CHECK(is_there("CA.edb"));
}

static void restore_that_failed_leaves_nothing(void)
{
    HCSBC session = restoring();
    IS(registered(session, 1, 3), S_OK);
    IS(CertSrvRestoreRegisterComplete(session, E_UNEXPECTED), S_OK);
    CHECK(!is_there("CA.edb") && !is_there("CA.edb.undelfs-partial") && !is_there("RestoreInProgress.json"));
    IS(registered(session, 1, 3), S_OK);
    IS(CertSrvRestoreRegisterComplete(session, S_OK), S_OK);
    IS(CertSrvRestoreEnd(session), S_OK);
}

static void restore_checks_the_range_of_logs(void)
{
    HCSBC session = restoring();
    CSEDB_RSTMAPW map = {database, target};
    char path[MAX_UNITS];
    IS(registered(session, 0, 3), E_INVALIDARG);
    IS(registered(session, 3, 2), E_INVALIDARG);
    IS(CertSrvRestoreRegisterW(session, NULL, target_logs, &map, -1, set, 1, 3), E_INVALIDARG);
    IS(CertSrvRestoreRegisterW(session, NULL, target_logs, NULL, 1, set, 1, 3), E_INVALIDARG);
    IS(registered(session, 1, 4), hrRestoreLogTooHigh);
    IS(registered(session, 7, 9), hrLogFileNotFound);
    IS(registered(session, 2, 3), hrMissingRestoreLogFiles);
    snprintf(path, sizeof path, "%s/set/edb00002.log", folder);
    CHECK(unlink(path) == 0);
    IS(registered(session, 1, 3), hrGivenLogFileIsNotContiguous);
    snprintf(path, sizeof path, "%s/set/edb00001.log", folder);
    CHECK(unlink(path) == 0);
    IS(registered(session, 1, 3), hrRestoreLogTooLow);
    CHECK(!is_there("CA.edb") && !is_there("RestoreInProgress.json"));
    IS(CertSrvRestoreEnd(session), S_OK);
}

static void restore_of_logs_needs_a_full_one_first(void)
{
    HCSBC session = restoring();
    IS(CertSrvRestoreRegisterW(session, NULL, target_logs, NULL, 0, set, 1, 3), hrNoFullRestore);
    IS(registered(session, 1, 3), S_OK);
    IS(CertSrvRestoreRegisterComplete(session, S_OK), S_OK);
    /* Then sets of logs may follow, in the same session. */
    IS(CertSrvRestoreRegisterW(session, NULL, target_logs, NULL, 0, set, 2, 3), S_OK);
    IS(CertSrvRestoreRegisterComplete(session, S_OK), S_OK);
    IS(CertSrvRestoreEnd(session), S_OK);
    IS(CertSrvRestorePrepareW(set, 2, &session), E_INVALIDARG);
    IS(CertSrvRestorePrepareW(NULL, 0, &session), E_INVALIDARG);
}

static void restore_never_writes_to_the_source_or_over_files(void)
{
    HCSBC session = restoring();
    CSEDB_RSTMAPW map = {database, target};
    char path[MAX_UNITS];
    IS(CertSrvRestoreRegisterW(session, NULL, set, &map, 1, set, 1, 3), E_ACCESSDENIED);
    snprintf(path, sizeof path, "%s/new", folder);
    CHECK(mkdir(path, 0777) == 0);
    snprintf(path, sizeof path, "%s/new/edb00002.log", folder);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fputs("mine", file) >= 0 && fclose(file) == 0);
    IS(registered(session, 1, 3), hrRestoreMapExists);
    CHECK(!is_there("CA.edb"));
    IS(CertSrvRestoreEnd(session), S_OK);
}

static void restore_works_without_a_handle_and_through_a_file(void)
{
    make_set();
    CSEDB_RSTMAPW map = {database, target};
    IS(CertSrvRestoreRegisterComplete(NULL, S_OK), E_UNEXPECTED);
    IS(CertSrvRestoreRegisterThroughFile(NULL, NULL, target_logs, &map, 1, set, 1, 3), S_OK);
    IS(CertSrvRestoreRegisterThroughFile(NULL, NULL, target_logs, &map, 1, set, 1, 3), hrRestoreInProgress);
    IS(CertSrvRestoreRegisterComplete(NULL, S_OK), S_OK);
    CHECK(is_there("CA.edb") && is_there("edb00003.log"));
}

#define CASE(name) {#name, name}
static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    CASE(idle_prepare_of_either_type_is_prepared),
    CASE(prepare_again_is_unexpected_and_works_after_the_end),
    CASE(open_of_a_listed_name_reads_and_closes),
    CASE(open_while_a_file_is_open_is_unexpected),
    CASE(read_and_close_without_an_open_file_are_unexpected),
    CASE(open_before_any_list_is_unexpected_and_of_another_name_file_not_found),
    CASE(database_names_without_a_full_prepare_are_an_invalid_sequence),
    CASE(a_database_after_the_logs_is_an_invalid_sequence),
    CASE(truncate_with_all_read_works_once_and_removes_nothing),
    CASE(truncate_with_something_unread_is_unexpected),
    CASE(end_works_in_every_state_and_its_handle_is_gone),
    CASE(wrong_arguments_are_invalid_and_no_server_is_unavailable),
    CASE(a_name_behind_the_server_says_which_authority),
    CASE(locations_come_with_either_handle),
    CASE(no_dynamic_files_are_success_with_a_count_of_0),
    CASE(control_takes_three_commands),
    CASE(restore_copies_and_names_files_when_it_is_complete),
    CASE(restore_registers_one_set_at_a_time),
    CASE(restore_that_failed_leaves_nothing),
    CASE(restore_checks_the_range_of_logs),
    CASE(restore_of_logs_needs_a_full_one_first),
    CASE(restore_never_writes_to_the_source_or_over_files),
    CASE(restore_works_without_a_handle_and_through_a_file),
};

int main(int count, char **arguments)
{
    if (count < 4) {
        return 2;
    }
    load_certsrv();
    to_utf16(arguments[2], server);
    folder = arguments[3];
    for (size_t at = 0; at < sizeof cases / sizeof *cases; at++) {
        if (strcmp(cases[at].name, arguments[1]) == 0) {
            cases[at].run();
            return EXIT_SUCCESS;
        }
    }
    fprintf(stderr, "there is no case %s\n", arguments[1]);
    return 2;
}
