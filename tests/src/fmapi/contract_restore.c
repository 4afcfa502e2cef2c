/* Restoring, and calls from several threads. */
#include "contract.h"

#include <pthread.h>
#include <semaphore.h>

/* RestoreFile. The second argument is a folder. */

struct told {
    unsigned progress, finished;
    BOOL success;
    ULONG result;
    BOOLEAN answer;
    PFILE_RESTORE_CONTEXT close;
    sem_t begun;
};

static BOOLEAN follow(FILE_RESTORE_PACKET_TYPE type, ULONG length, PVOID data)
{
    struct told *told;
    if (type == FileRestoreFinished) {
        PFILE_RESTORE_FINISHED_INFORMATION finished = data;
        CHECK(length == sizeof *finished);
        told = finished->ClbkArg;
        told->finished++;
        told->success = finished->Success;
        told->result = finished->FinalResult;
        return FALSE;
    }
    PFILE_RESTORE_PROGRESS_INFORMATION progress = data;
    CHECK(type == FileRestoreProgressInfo && length == sizeof *progress);
    told = progress->ClbkArg;
    CHECK(told->finished == 0);
    CHECK(progress->StreamBytesCompleted <= progress->StreamSize);
    CHECK(progress->TotalBytesCompleted <= progress->TotalFileSize);
    told->progress++;
    return told->answer;
}

static void restore_copies_a_file_and_tells_of_it(void)
{
    PFILE_RESTORE_CONTEXT context = opened(BOTH, FILE_RESTORE_VERSION_2);
    PRESTORABLE_FILE_INFO live = entry(context, "\\Documents\\To do.txt"), info;
    struct told told = {.answer = TRUE};
    char path[MAX_UNITS];

    info = entry(context, "\\Documents\\Thesis\\Interviews\\All interviews.txt");
    snprintf(path, sizeof path, "%s/file", arguments[1]);
    WORKS(restore(context, info, path, follow, &told));
    CHECK(size_of(path) == 150000 && told.progress >= 1 && told.finished == 1 && told.success && told.result == 0);
    FAILS(restore(context, info, path, NULL, NULL), ERROR_FILE_EXISTS);
    CHECK(size_of(path) == 150000);
    snprintf(path, sizeof path, "%s/live", arguments[1]);
    WORKS(restore(context, live, path, NULL, NULL));
    CHECK(size_of(path) == 40);
    free(live);
    free(info);
    closed(context);
}

static void restore_of_an_overwritten_file_succeeds_as_a_partial_copy(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    PRESTORABLE_FILE_INFO info = entry(context, "\\Measurements.csv");
    struct told told = {.answer = TRUE};
    char path[MAX_UNITS];
    snprintf(path, sizeof path, "%s/file", arguments[1]);
    CHECK(restore(context, info, path, follow, &told));
    CHECK(FmapiGetLastError() == ERROR_PARTIAL_COPY);
    CHECK(told.finished == 1 && told.success && told.result == ERROR_PARTIAL_COPY && size_of(path) == 50086);
    free(info);
    closed(context);
}

static void restore_of_a_directory_is_invalid_parameter(void)
{
    PFILE_RESTORE_CONTEXT context = opened(BOTH | FlagScanIncludeRemovedDirectories, FILE_RESTORE_VERSION_2);
    PRESTORABLE_FILE_INFO info;
    struct told told = {.answer = TRUE};
    char path[MAX_UNITS];
    unsigned directories = 0;
    snprintf(path, sizeof path, "%s/directory", arguments[1]);
    while ((info = next(context)) != NULL) {
        if (info->Attributes & 0x10) {
            FAILS(restore(context, info, path, follow, &told), ERROR_INVALID_PARAMETER);
            directories++;
        }
        free(info);
    }
    CHECK(directories == 12 && told.finished == 0 && size_of(path) == -1);
    closed(context);
}

static void restore_of_an_entry_of_another_context_is_invalid_parameter(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    PFILE_RESTORE_CONTEXT other = opened(REMOVED, FILE_RESTORE_VERSION_2);
    PRESTORABLE_FILE_INFO info = next(other), ours = next(context);
    unsigned char *bytes = (unsigned char *)ours;
    char path[MAX_UNITS];
    snprintf(path, sizeof path, "%s/file", arguments[1]);
    FAILS(restore(context, info, path, NULL, NULL), ERROR_INVALID_PARAMETER);
    FAILS(restore(context, NULL, path, NULL, NULL), ERROR_INVALID_PARAMETER);
    FAILS(RestoreFile(context, ours, NULL, NULL, NULL), ERROR_INVALID_PARAMETER);
    FAILS(restore(context, ours, "", NULL, NULL), ERROR_INVALID_PARAMETER);
    for (ULONG at = ours->RestoreDataOffset; at < ours->Size; at++) {
        bytes[at] ^= 0x40;
        FAILS(restore(context, ours, path, NULL, NULL), ERROR_INVALID_PARAMETER);
        bytes[at] ^= 0x40;
    }
    ours->Size -= 8;
    FAILS(restore(context, ours, path, NULL, NULL), ERROR_INVALID_PARAMETER);
    ours->Size += 8;
    CHECK(size_of(path) == -1);
    WORKS(restore(context, ours, path, NULL, NULL));
    free(info);
    free(ours);
    closed(context);
    closed(other);
}

static void restore_to_a_place_that_cannot_be_written_says_why(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    PRESTORABLE_FILE_INFO info = next(context);
    struct told told = {.answer = TRUE};
    FAILS(restore(context, info, "/no/such/folder/file", follow, &told), ERROR_PATH_NOT_FOUND);
    CHECK(told.finished == 1 && !told.success && told.result == ERROR_PATH_NOT_FOUND);
    FAILS(restore(context, info, arguments[1], NULL, NULL), ERROR_FILE_EXISTS);
    FAILS(restore(context, info, "/proc/self/file", NULL, NULL), ERROR_PATH_NOT_FOUND);
    free(info);
    closed(context);
}

static void restore_is_cancelled_by_its_callback_and_leaves_nothing(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    PRESTORABLE_FILE_INFO info = entry(context, "\\Documents\\Thesis\\Interviews\\All interviews.txt");
    struct told told = {.answer = FALSE};
    char path[MAX_UNITS];
    snprintf(path, sizeof path, "%s/file", arguments[1]);
    FAILS(restore(context, info, path, follow, &told), ERROR_CANCELLED);
    CHECK(told.progress == 1 && told.finished == 1 && !told.success && told.result == ERROR_CANCELLED);
    CHECK(size_of(path) == -1);
    WORKS(restore(context, info, path, NULL, NULL));
    free(info);
    closed(context);
}

/* Arguments: volume, a folder with little room. */
static void restore_to_a_full_disk_is_disk_full_and_leaves_nothing(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    PRESTORABLE_FILE_INFO info = entry(context, "\\Documents\\Thesis\\Interviews\\All interviews.txt");
    struct told told = {.answer = TRUE};
    char path[MAX_UNITS];
    snprintf(path, sizeof path, "%s/file", arguments[1]);
    FAILS(restore(context, info, path, follow, &told), ERROR_DISK_FULL);
    CHECK(told.finished == 1 && !told.success && told.result == ERROR_DISK_FULL && size_of(path) == -1);
    free(info);
    closed(context);
}

/* Of this volume nothing describes the content of that file any more. */
static void restore_of_a_lost_content_is_file_corrupt_and_makes_no_file(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    PRESTORABLE_FILE_INFO info = entry(context, "\\Documents\\Thesis\\Interviews\\All interviews.txt");
    struct told told = {.answer = TRUE};
    char path[MAX_UNITS];
    snprintf(path, sizeof path, "%s/file", arguments[1]);
    FAILS(restore(context, info, path, follow, &told), ERROR_FILE_CORRUPT);
    CHECK(told.progress == 0 && told.finished == 1 && !told.success && told.result == ERROR_FILE_CORRUPT);
    CHECK(size_of(path) == -1);
    free(info);
    closed(context);
}

/* Moves the file away, where the library does not find it. */
static BOOLEAN move_away(FILE_RESTORE_PACKET_TYPE type, ULONG length, PVOID data)
{
    char from[MAX_UNITS], to[MAX_UNITS];
    follow(type, length, data);
    snprintf(from, sizeof from, "%s/file", arguments[1]);
    snprintf(to, sizeof to, "%s/moved", arguments[1]);
    if (type == FileRestoreProgressInfo) {
        CHECK(rename(from, to) == 0);
    }
    return FALSE;
}

static void restore_that_leaves_an_incomplete_file_says_so(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    PRESTORABLE_FILE_INFO info = next(context);
    struct told told = {.answer = FALSE};
    char path[MAX_UNITS];
    snprintf(path, sizeof path, "%s/file", arguments[1]);
    FAILS(restore(context, info, path, move_away, &told), ERROR_PARTIAL_COPY);
    CHECK(told.finished == 1 && !told.success && told.result == ERROR_PARTIAL_COPY);
    free(info);
    closed(context);
}

static BOOLEAN wait_for_the_close(FILE_RESTORE_PACKET_TYPE type, ULONG length, PVOID data)
{
    follow(type, length, data);
    if (type == FileRestoreProgressInfo) {
        struct told *told = ((PFILE_RESTORE_PROGRESS_INFORMATION)data)->ClbkArg;
        sem_post(&told->begun);
        usleep(200000);
    }
    return TRUE;
}

static void *close_when_begun(void *argument)
{
    struct told *told = argument;
    while (sem_wait(&told->begun) != 0) {
    }
    WORKS(CloseFileRestoreContext(told->close));
    /* Closing waits for what it has cancelled. */
    CHECK(told->finished == 1 && told->result == ERROR_CANCELLED);
    return NULL;
}

static void restore_is_cancelled_by_a_close_from_another_thread(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    PRESTORABLE_FILE_INFO info = next(context);
    struct told told = {.answer = TRUE, .close = context};
    pthread_t closer;
    char path[MAX_UNITS];
    snprintf(path, sizeof path, "%s/file", arguments[1]);
    CHECK(sem_init(&told.begun, 0, 0) == 0);
    CHECK(pthread_create(&closer, NULL, close_when_begun, &told) == 0);
    FAILS(restore(context, info, path, wait_for_the_close, &told), ERROR_CANCELLED);
    CHECK(pthread_join(closer, NULL) == 0);
    CHECK(told.progress == 1 && told.finished == 1 && !told.success && size_of(path) == -1);
    sem_destroy(&told.begun);
    free(info);
}

static BOOLEAN close_itself(FILE_RESTORE_PACKET_TYPE type, ULONG length, PVOID data)
{
    follow(type, length, data);
    if (type == FileRestoreProgressInfo) {
        struct told *told = ((PFILE_RESTORE_PROGRESS_INFORMATION)data)->ClbkArg;
        WORKS(CloseFileRestoreContext(told->close));
        FAILS(CloseFileRestoreContext(told->close), ERROR_INVALID_HANDLE);
    }
    return TRUE;
}

static void restore_is_cancelled_by_a_close_in_its_own_callback(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    PRESTORABLE_FILE_INFO info = next(context);
    struct told told = {.answer = TRUE, .close = context};
    char path[MAX_UNITS];
    snprintf(path, sizeof path, "%s/file", arguments[1]);
    FAILS(restore(context, info, path, close_itself, &told), ERROR_CANCELLED);
    CHECK(told.finished == 1 && told.result == ERROR_CANCELLED && size_of(path) == -1);
    FAILS(CloseFileRestoreContext(context), ERROR_INVALID_HANDLE);
    free(info);
}

/* The state machine */

static void restore_works_while_scanning_and_when_exhausted(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    PRESTORABLE_FILE_INFO info = next(context);
    char path[MAX_UNITS];
    snprintf(path, sizeof path, "%s/scanning", arguments[1]);
    WORKS(restore(context, info, path, NULL, NULL));
    CHECK(count(context, "\\") == 20);
    snprintf(path, sizeof path, "%s/exhausted", arguments[1]);
    WORKS(restore(context, info, path, NULL, NULL));
    free(info);
    closed(context);
}

static void restore_before_any_scan_knows_no_entry(void)
{
    PFILE_RESTORE_CONTEXT other = opened(REMOVED, FILE_RESTORE_VERSION_2);
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    PRESTORABLE_FILE_INFO info = next(other);
    FAILS(restore(context, info, "/tmp/never-made", NULL, NULL), ERROR_INVALID_PARAMETER);
    free(info);
    closed(other);
    closed(context);
}

static void close_works_in_every_state(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    closed(context);
    context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    free(next(context));
    closed(context);
    context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    count(context, "\\");
    closed(context);
}

/* Threads. The second argument is a folder. */

struct shared {
    PFILE_RESTORE_CONTEXT context;
    int number;
    unsigned long got;
};

static void *scan_and_restore(void *argument)
{
    struct shared *shared = argument;
    unsigned char buffer[4096];
    char path[MAX_UNITS];
    ULONG used;
    while (ScanRestorableFiles(shared->context, ROOT, sizeof buffer, (PRESTORABLE_FILE_INFO)(void *)buffer, &used)) {
        snprintf(path, sizeof path, "%s/%d-%lu", arguments[1], shared->number, shared->got++);
        if (!restore(shared->context, (PRESTORABLE_FILE_INFO)(void *)buffer, path, NULL, NULL)) {
            CHECK(FmapiGetLastError() == ERROR_CANCELLED || FmapiGetLastError() == ERROR_INVALID_HANDLE);
        }
    }
    CHECK(FmapiGetLastError() == ERROR_NO_MORE_FILES || FmapiGetLastError() == ERROR_INVALID_HANDLE ||
          FmapiGetLastError() == ERROR_CANCELLED);
    return NULL;
}

static unsigned long by_threads(useconds_t until_close)
{
    struct shared shared[4];
    pthread_t threads[4];
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    unsigned long got = 0;
    for (int n = 0; n < 4; n++) {
        shared[n] = (struct shared){context, n, 0};
        CHECK(pthread_create(&threads[n], NULL, scan_and_restore, &shared[n]) == 0);
    }
    if (until_close > 0) {
        usleep(until_close);
        closed(context);
    }
    for (int n = 0; n < 4; n++) {
        char path[MAX_UNITS];
        CHECK(pthread_join(threads[n], NULL) == 0);
        got += shared[n].got;
        for (unsigned long file = 0; file < shared[n].got; file++) {
            snprintf(path, sizeof path, "%s/%d-%lu", arguments[1], n, file);
            unlink(path);
        }
    }
    if (until_close == 0) {
        closed(context);
    }
    return got;
}

static void threads_share_a_scan_without_losing_or_doubling_an_entry(void)
{
    for (int n = 0; n < 5; n++) {
        CHECK(by_threads(0) == 21);
    }
}

static void a_close_ends_the_calls_of_all_threads(void)
{
    for (useconds_t n = 1; n < 40; n++) {
        CHECK(by_threads(n * 500) <= 21);
    }
}

static void *fail(void *argument)
{
    (void)argument;
    CHECK(FmapiGetLastError() == ERROR_SUCCESS);
    FAILS(CloseFileRestoreContext(NULL), ERROR_INVALID_HANDLE);
    return NULL;
}

static void each_thread_has_its_own_last_error(void)
{
    pthread_t thread;
    ULONG used;
    FAILS(ScanRestorableFiles(NULL, ROOT, 0, NULL, NULL), ERROR_INVALID_PARAMETER);
    CHECK(pthread_create(&thread, NULL, fail, NULL) == 0 && pthread_join(thread, NULL) == 0);
    CHECK(FmapiGetLastError() == ERROR_INVALID_PARAMETER);
    FAILS(ScanRestorableFiles(NULL, ROOT, 0, NULL, &used), ERROR_INVALID_HANDLE);
}

static const struct contract_case CASES[] = {
    CASE(restore_copies_a_file_and_tells_of_it),
    CASE(restore_of_an_overwritten_file_succeeds_as_a_partial_copy),
    CASE(restore_of_a_directory_is_invalid_parameter),
    CASE(restore_of_an_entry_of_another_context_is_invalid_parameter),
    CASE(restore_to_a_place_that_cannot_be_written_says_why),
    CASE(restore_is_cancelled_by_its_callback_and_leaves_nothing),
    CASE(restore_to_a_full_disk_is_disk_full_and_leaves_nothing),
    CASE(restore_of_a_lost_content_is_file_corrupt_and_makes_no_file),
    CASE(restore_that_leaves_an_incomplete_file_says_so),
    CASE(restore_is_cancelled_by_a_close_from_another_thread),
    CASE(restore_is_cancelled_by_a_close_in_its_own_callback),
    CASE(restore_works_while_scanning_and_when_exhausted),
    CASE(restore_before_any_scan_knows_no_entry),
    CASE(close_works_in_every_state),
    CASE(threads_share_a_scan_without_losing_or_doubling_an_entry),
    CASE(a_close_ends_the_calls_of_all_threads),
    CASE(each_thread_has_its_own_last_error),
};

int main(int argc, char **argv)
{
    return run_case(argc, argv, CASES, sizeof CASES / sizeof *CASES);
}
