/*
 * The contract of the library, a case for each row of the documented tables. contract CASE ARGUMENT...
 * The first argument is a volume; most cases want the bundled image.
 */
#include "common.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "line %d: %s; last error %u\n", __LINE__, #condition, FmapiGetLastError());               \
            exit(EXIT_FAILURE);                                                                                       \
        }                                                                                                             \
    } while (0)

/* A call that fails with this last error. */
#define FAILS(call, error)                                                                                            \
    do {                                                                                                              \
        CHECK(!(call));                                                                                               \
        CHECK(FmapiGetLastError() == (error));                                                                        \
    } while (0)

/* A call that succeeds and leaves no error. */
#define WORKS(call)                                                                                                   \
    do {                                                                                                              \
        CHECK(call);                                                                                                  \
        CHECK(FmapiGetLastError() == ERROR_SUCCESS);                                                                  \
    } while (0)

#define REMOVED (ContextFlagVolume | FlagScanRemovedFiles)
#define BOTH (REMOVED | FlagScanRegularFiles)

static const WCHAR ROOT[] = {'\\', 0};
static char **arguments;

static BOOL create(const char *volume, unsigned flags, LONGLONG start, LONGLONG boot, DWORD version,
                   PFILE_RESTORE_CONTEXT *context)
{
    WCHAR wide[MAX_UNITS];
    to_utf16(volume, wide);
    return CreateFileRestoreContext(wide, (RESTORE_CONTEXT_FLAGS)flags, start, boot, version, context);
}

static PFILE_RESTORE_CONTEXT opened(unsigned flags, DWORD version)
{
    PFILE_RESTORE_CONTEXT context = NULL;
    WORKS(create(arguments[0], flags, 0, 0, version, &context));
    CHECK(context != NULL);
    return context;
}

/* The next entry below `folder`; NULL at the end. */
static PRESTORABLE_FILE_INFO next_below(PFILE_RESTORE_CONTEXT context, const char *folder)
{
    WCHAR path[MAX_UNITS];
    ULONG size = 0, used = 0;
    PRESTORABLE_FILE_INFO info;

    to_utf16(folder, path);
    if (!ScanRestorableFiles(context, path, 0, NULL, &size)) {
        CHECK(FmapiGetLastError() == ERROR_NO_MORE_FILES);
        return NULL;
    }
    info = malloc(size);
    WORKS(ScanRestorableFiles(context, path, size, info, &used));
    CHECK(used == size && info->Size == size && size % 8 == 0);
    return info;
}

static PRESTORABLE_FILE_INFO next(PFILE_RESTORE_CONTEXT context)
{
    return next_below(context, "\\");
}

static int is_named(const RESTORABLE_FILE_INFO *info, const char *path)
{
    WCHAR wide[MAX_UNITS];
    size_t n = 0;
    to_utf16(path, wide);
    while (wide[n] != 0 && wide[n] == info->FileName[n]) {
        n++;
    }
    return wide[n] == info->FileName[n];
}

/* The entry with this path. */
static PRESTORABLE_FILE_INFO entry(PFILE_RESTORE_CONTEXT context, const char *path)
{
    PRESTORABLE_FILE_INFO info;
    while ((info = next(context)) != NULL && !is_named(info, path)) {
        free(info);
    }
    CHECK(info != NULL);
    return info;
}

static unsigned long count(PFILE_RESTORE_CONTEXT context, const char *folder)
{
    unsigned long n = 0;
    PRESTORABLE_FILE_INFO info;
    while ((info = next_below(context, folder)) != NULL) {
        n++;
        free(info);
    }
    return n;
}

static BOOL restore(PFILE_RESTORE_CONTEXT context, PRESTORABLE_FILE_INFO info, const char *path,
                    FILE_RESTORE_CALLBACK callback, PVOID argument)
{
    WCHAR wide[MAX_UNITS];
    to_utf16(path, wide);
    return RestoreFile(context, info, wide, callback, argument);
}

static long long size_of(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? (long long)status.st_size : -1;
}

static void closed(PFILE_RESTORE_CONTEXT context)
{
    WORKS(CloseFileRestoreContext(context));
}

/* CreateFileRestoreContext */

static void create_with_another_version_is_invalid_parameter(void)
{
    static const DWORD others[] = {0, 1, 2, 0x00010000, 0x00010002, 0x00020001, 0x00030000, 0xFFFFFFFF};
    PFILE_RESTORE_CONTEXT context = NULL;
    for (size_t n = 0; n < sizeof others / sizeof *others; n++) {
        FAILS(create(arguments[0], REMOVED, 0, 0, others[n], &context), ERROR_INVALID_PARAMETER);
        CHECK(context == NULL);
    }
    closed(opened(REMOVED, FILE_RESTORE_VERSION_1));
    closed(opened(REMOVED, FILE_RESTORE_VERSION_2));
}

static void create_on_a_system_of_one_version_refuses_the_other(void)
{
    PFILE_RESTORE_CONTEXT context = NULL;
    setenv("FMAPI_VERSION", "1", 1);
    FAILS(create(arguments[0], REMOVED, 0, 0, FILE_RESTORE_VERSION_2, &context), ERROR_INVALID_PARAMETER);
    closed(opened(REMOVED, FILE_RESTORE_VERSION_1));
    setenv("FMAPI_VERSION", "2", 1);
    FAILS(create(arguments[0], REMOVED, 0, 0, FILE_RESTORE_VERSION_1, &context), ERROR_INVALID_PARAMETER);
    closed(opened(REMOVED, FILE_RESTORE_VERSION_2));
}

static void create_takes_exactly_one_of_volume_and_disk_and_no_unknown_flag(void)
{
    static const unsigned wrong[] = {0, FlagScanRemovedFiles, ContextFlagVolume | ContextFlagDisk, REMOVED | 0x20};
    PFILE_RESTORE_CONTEXT context = NULL;
    for (size_t n = 0; n < sizeof wrong / sizeof *wrong; n++) {
        FAILS(create(arguments[0], wrong[n], 0, 0, FILE_RESTORE_VERSION_2, &context), ERROR_INVALID_PARAMETER);
    }
    FAILS(CreateFileRestoreContext(NULL, (RESTORE_CONTEXT_FLAGS)REMOVED, 0, 0, FILE_RESTORE_VERSION_2, &context),
          ERROR_INVALID_PARAMETER);
    FAILS(create(arguments[0], REMOVED, 0, 0, FILE_RESTORE_VERSION_2, NULL), ERROR_INVALID_PARAMETER);
}

static void create_of_a_volume_that_is_not_there_is_file_not_found(void)
{
    PFILE_RESTORE_CONTEXT context = NULL;
    FAILS(create("/no/such/image", REMOVED, 0, 0, FILE_RESTORE_VERSION_2, &context), ERROR_FILE_NOT_FOUND);
    FAILS(create("\\\\.\\no-such-device", REMOVED, 0, 0, FILE_RESTORE_VERSION_2, &context), ERROR_FILE_NOT_FOUND);
    FAILS(create("\\\\.\\Q:", REMOVED, 0, 0, FILE_RESTORE_VERSION_2, &context), ERROR_FILE_NOT_FOUND);
}

static void create_with_a_volume_ignores_the_sectors(void)
{
    PFILE_RESTORE_CONTEXT context = NULL;
    WORKS(create(arguments[0], REMOVED, -5, 1LL << 40, FILE_RESTORE_VERSION_2, &context));
    CHECK(count(context, "\\") > 0);
    closed(context);
}

/* Arguments: disk, first sector of its only volume, last sector. */
static void create_with_a_disk_takes_the_boot_sector_at_either_end(void)
{
    unsigned flags = ContextFlagDisk | FlagScanRemovedFiles;
    LONGLONG start = atoll(arguments[1]), last = atoll(arguments[2]);
    PFILE_RESTORE_CONTEXT context = NULL;
    unsigned long by_first, by_last;

    WORKS(create(arguments[0], flags, start, start, FILE_RESTORE_VERSION_2, &context));
    by_first = count(context, "\\");
    closed(context);
    WORKS(create(arguments[0], flags, start, last, FILE_RESTORE_VERSION_2, &context));
    by_last = count(context, "\\");
    closed(context);
    CHECK(by_first > 0 && by_first == by_last);
    FAILS(create(arguments[0], flags, -1, start, FILE_RESTORE_VERSION_2, &context), ERROR_INVALID_PARAMETER);
    FAILS(create(arguments[0], flags, start, -1, FILE_RESTORE_VERSION_2, &context), ERROR_INVALID_PARAMETER);
    CHECK(!create(arguments[0], flags, start + 1, start + 1, FILE_RESTORE_VERSION_2, &context));
    /* The only volume needs no sector. */
    WORKS(create(arguments[0], REMOVED, 0, 0, FILE_RESTORE_VERSION_2, &context));
    CHECK(count(context, "\\") == by_first);
    closed(context);
}

/* Arguments: disk with several volumes. */
static void create_with_a_volume_refuses_a_disk_with_several(void)
{
    PFILE_RESTORE_CONTEXT context = NULL;
    FAILS(create(arguments[0], REMOVED, 0, 0, FILE_RESTORE_VERSION_2, &context), ERROR_INVALID_PARAMETER);
}

/* CloseFileRestoreContext */

static void close_of_a_closed_foreign_or_null_context_is_invalid_handle(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    int local = 0;
    closed(context);
    FAILS(CloseFileRestoreContext(context), ERROR_INVALID_HANDLE);
    FAILS(CloseFileRestoreContext(NULL), ERROR_INVALID_HANDLE);
    FAILS(CloseFileRestoreContext(&local), ERROR_INVALID_HANDLE);
    FAILS(CloseFileRestoreContext((PVOID)(uintptr_t)0x1234), ERROR_INVALID_HANDLE);
}

static void every_call_with_a_closed_context_is_invalid_handle(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_1);
    PRESTORABLE_FILE_INFO info = next(context);
    ULONG used = 0;
    DWORD bits = 0;
    ULONGLONG size = 0;
    PVOID bad[] = {context, NULL, &used};

    closed(context);
    for (size_t n = 0; n < 3; n++) {
        FAILS(ScanRestorableFiles(bad[n], ROOT, info->Size, info, &used), ERROR_INVALID_HANDLE);
        FAILS(restore(bad[n], info, "/tmp/never-made", NULL, NULL), ERROR_INVALID_HANDLE);
        FAILS(DetectEncryptedVolume(bad[n], &bits), ERROR_INVALID_HANDLE);
        FAILS(DetectEncryptedVolumeEx(bad[n], &bits, &size), ERROR_INVALID_HANDLE);
        FAILS(SupplyDecryptionInfo(bad[n], ROOT, NULL, NULL, 0), ERROR_INVALID_HANDLE);
    }
    free(info);
}

/* ScanRestorableFiles */

static void scan_delivers_an_entry(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    PRESTORABLE_FILE_INFO info = entry(context, "\\Measurements.csv");
    CHECK(info->Version == FILE_RESTORE_VERSION_2 && info->FileSize == 50086 && info->IsRemoved == TRUE);
    CHECK(info->ClustersUsedByFile == 13 && info->ClustersCurrentlyInUse == 3);
    CHECK(info->LastWriteTime.dwHighDateTime > 0x01D00000 && info->CreationTime.dwHighDateTime > 0x01D00000);
    CHECK(info->RestoreDataOffset >= 72 && info->RestoreDataOffset < info->Size);
    free(info);
    closed(context);
}

static void scan_with_too_small_a_buffer_is_insufficient_buffer_and_loses_nothing(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    PFILE_RESTORE_CONTEXT other = opened(REMOVED, FILE_RESTORE_VERSION_2);
    PRESTORABLE_FILE_INFO expected;
    while ((expected = next(other)) != NULL) {
        unsigned char *small;
        ULONG used = 0;
        for (ULONG room = 1; room < expected->Size; room += 13) {
            small = malloc(room);
            memset(small, 0xAA, room);
            FAILS(ScanRestorableFiles(context, ROOT, room, (PRESTORABLE_FILE_INFO)(void *)small, &used),
                  ERROR_INSUFFICIENT_BUFFER);
            CHECK(used == expected->Size && small[0] == 0xAA && small[room - 1] == 0xAA);
            free(small);
        }
        small = malloc(used);
        WORKS(ScanRestorableFiles(context, ROOT, used, (PRESTORABLE_FILE_INFO)(void *)small, &used));
        CHECK(memcmp(small, expected, expected->RestoreDataOffset) == 0);
        free(small);
        free(expected);
    }
    CHECK(next(context) == NULL);
    closed(context);
    closed(other);
}

static void scan_with_nothing_left_is_no_more_files_again_and_again(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    unsigned char buffer[4096];
    ULONG used;
    CHECK(count(context, "\\") == 21);
    for (int n = 0; n < 3; n++) {
        FAILS(ScanRestorableFiles(context, ROOT, 0, NULL, &used), ERROR_NO_MORE_FILES);
        FAILS(ScanRestorableFiles(context, ROOT, sizeof buffer, (PRESTORABLE_FILE_INFO)(void *)buffer, &used),
              ERROR_NO_MORE_FILES);
    }
    closed(context);
}

static void scan_with_size_0_succeeds_with_the_needed_size_and_does_not_advance(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    ULONG first = 0, again = 0, used = 0;
    PRESTORABLE_FILE_INFO info;
    WORKS(ScanRestorableFiles(context, ROOT, 0, NULL, &first));
    WORKS(ScanRestorableFiles(context, ROOT, 0, NULL, &again));
    CHECK(first == again && first > 72);
    info = malloc(first);
    WORKS(ScanRestorableFiles(context, ROOT, first, info, &used));
    CHECK(used == first && info->Size == first);
    free(info);
    CHECK(count(context, "\\") == 20);
    closed(context);
}

static void scan_without_room_for_its_answer_is_invalid_parameter(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    unsigned char buffer[4096];
    ULONG used;
    FAILS(ScanRestorableFiles(context, ROOT, sizeof buffer, (PRESTORABLE_FILE_INFO)(void *)buffer, NULL),
          ERROR_INVALID_PARAMETER);
    FAILS(ScanRestorableFiles(context, ROOT, 0, NULL, NULL), ERROR_INVALID_PARAMETER);
    FAILS(ScanRestorableFiles(context, ROOT, sizeof buffer, NULL, &used), ERROR_INVALID_PARAMETER);
    CHECK(count(context, "\\") == 21);
    closed(context);
}

static void scan_takes_any_buffer_whatever_its_alignment(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    unsigned char *buffer = malloc(4096 + 1);
    char path[MAX_UNITS];
    ULONG used = 0;
    snprintf(path, sizeof path, "%s/odd", arguments[1]);
    WORKS(ScanRestorableFiles(context, ROOT, 4096, (PRESTORABLE_FILE_INFO)(void *)(buffer + 1), &used));
    WORKS(restore(context, (PRESTORABLE_FILE_INFO)(void *)(buffer + 1), path, NULL, NULL));
    free(buffer);
    closed(context);
}

static void scan_reads_its_path_on_the_first_call_only(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    PRESTORABLE_FILE_INFO info = next_below(context, "\\documents/THESIS\\");
    unsigned long n = 1;
    ULONG used;
    CHECK(is_named(info, "\\Documents\\Thesis\\Chapters\\Chapter 1.md"));
    free(info);
    /* A path that leads nowhere, not even to memory. */
    while (ScanRestorableFiles(context, (PCWSTR)(uintptr_t)1, 0, NULL, &used)) {
        info = malloc(used);
        WORKS(ScanRestorableFiles(context, NULL, used, info, &used));
        CHECK(info->FileName[11] == 'T');
        free(info);
        n++;
    }
    CHECK(n > 5 && n < 21);
    closed(context);
}

static void scan_of_a_missing_folder_is_path_not_found_and_can_begin_elsewhere(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    WCHAR path[MAX_UNITS];
    ULONG used;
    to_utf16("\\Documents\\No such folder", path);
    FAILS(ScanRestorableFiles(context, path, 0, NULL, &used), ERROR_PATH_NOT_FOUND);
    to_utf16("\\Measurements.csv", path);
    FAILS(ScanRestorableFiles(context, path, 0, NULL, &used), ERROR_PATH_NOT_FOUND);
    CHECK(count(context, "") == 21);
    closed(context);
}

static void scan_flags_say_what_is_listed(void)
{
    static const struct {
        unsigned flags;
        unsigned long files, directories, live;
    } rows[] = {
        {FlagScanRemovedFiles, 21, 0, 0},
        {FlagScanRemovedFiles | FlagScanIncludeRemovedDirectories, 21, 5, 0},
        {FlagScanRegularFiles, 0, 0, 13},
        {FlagScanRegularFiles | FlagScanIncludeRemovedDirectories, 0, 0, 13},
        {FlagScanRemovedFiles | FlagScanRegularFiles, 21, 0, 13},
        {FlagScanRemovedFiles | FlagScanRegularFiles | FlagScanIncludeRemovedDirectories, 21, 5, 13},
        {0, 0, 0, 0},
        {FlagScanIncludeRemovedDirectories, 0, 0, 0},
    };
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        PFILE_RESTORE_CONTEXT context = opened(ContextFlagVolume | rows[n].flags, FILE_RESTORE_VERSION_2);
        unsigned long files = 0, directories = 0, live = 0;
        PRESTORABLE_FILE_INFO info;
        while ((info = next(context)) != NULL) {
            if (!info->IsRemoved) {
                live++;
            } else if (info->Attributes & 0x10) {
                directories++;
            } else {
                files++;
            }
            free(info);
        }
        CHECK(files == rows[n].files && directories == rows[n].directories && live == rows[n].live);
        closed(context);
    }
}

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

/* DetectBootSector */

static void detect_boot_sector_needs_no_context_and_leaves_the_last_error(void)
{
    UCHAR sector[512];
    BOOT_SECTOR_INFO info;
    FILE *file = fopen(arguments[0], "rb");
    CHECK(file != NULL && fread(sector, 1, sizeof sector, file) == sizeof sector);
    fclose(file);
    FAILS(CloseFileRestoreContext(NULL), ERROR_INVALID_HANDLE);
    CHECK(DetectBootSector(sector, &info) && FmapiGetLastError() == ERROR_INVALID_HANDLE);
    CHECK(info.FileSystem == FileSystemNTFS && info.BytePerSector == 512 && info.SectorPerCluster == 8);
    CHECK(info.TotalSectors == 32767 && !info.IsEncrypted);
    sector[3] = 'X';
    CHECK(!DetectBootSector(sector, &info) && FmapiGetLastError() == ERROR_INVALID_HANDLE);
    CHECK(!DetectBootSector(NULL, &info) && !DetectBootSector(sector, NULL));
    memset(sector, 0, sizeof sector);
    CHECK(!DetectBootSector(sector, &info));
}

/* Encryption. Of an encrypted volume: startup key file, recovery password, another volume's password, size. */

static void detect_encrypted_volume_of_a_plain_one_tells_so(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_1);
    DWORD bits = 99;
    ULONGLONG size = 0;
    WORKS(DetectEncryptedVolume(context, &bits));
    CHECK(bits == 0);
    WORKS(DetectEncryptedVolumeEx(context, &bits, &size));
    CHECK(bits == 0 && size == 16 << 20);
    FAILS(DetectEncryptedVolume(context, NULL), ERROR_INVALID_PARAMETER);
    FAILS(DetectEncryptedVolumeEx(context, &bits, NULL), ERROR_INVALID_PARAMETER);
    FAILS(SupplyDecryptionInfo(context, NULL, NULL, NULL, 0), ERROR_INVALID_PARAMETER);
    closed(context);
}

static BOOL supply(PFILE_RESTORE_CONTEXT context, const char *file, const char *password)
{
    WCHAR wide_file[MAX_UNITS], wide_password[MAX_UNITS];
    to_utf16(file != NULL ? file : "", wide_file);
    to_utf16(password != NULL ? password : "", wide_password);
    return SupplyDecryptionInfo(context, file != NULL ? wide_file : NULL, password != NULL ? wide_password : NULL, NULL,
                                0);
}

static void in_version_2_what_is_obsolete_is_not_supported(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    DWORD bits;
    ULONGLONG size;
    FAILS(DetectEncryptedVolume(context, &bits), ERROR_NOT_SUPPORTED);
    FAILS(DetectEncryptedVolumeEx(context, &bits, &size), ERROR_NOT_SUPPORTED);
    FAILS(DetectEncryptedVolume(context, NULL), ERROR_NOT_SUPPORTED);
    FAILS(SupplyDecryptionInfo(context, NULL, NULL, NULL, 0), ERROR_NOT_SUPPORTED);
    closed(context);
}

static void in_version_2_the_extension_is_a_flag_or_the_environment(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED | 0x80000000u, FILE_RESTORE_VERSION_2);
    DWORD bits;
    WORKS(DetectEncryptedVolume(context, &bits));
    CHECK(bits == (VOLUME_INFO_ENCRYPTED | VOLUME_INFO_LOCKED));
    WORKS(supply(context, arguments[1], NULL));
    CHECK(count(context, "\\") > 0);
    closed(context);
    setenv("FMAPI_EXTENDED", "1", 1);
    context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    WORKS(supply(context, NULL, arguments[2]));
    CHECK(count(context, "\\") > 0);
    closed(context);
}

static void a_locked_volume_is_created_and_scanned_only_with_a_key(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_1);
    DWORD bits;
    ULONGLONG size;
    ULONG used;
    FAILS(ScanRestorableFiles(context, ROOT, 0, NULL, &used), ERROR_ACCESS_DENIED);
    WORKS(DetectEncryptedVolumeEx(context, &bits, &size));
    CHECK(bits == (VOLUME_INFO_ENCRYPTED | VOLUME_INFO_LOCKED) && size == strtoull(arguments[4], NULL, 10));
    FAILS(supply(context, "/no/such/file.BEK", NULL), ERROR_FILE_NOT_FOUND);
    FAILS(supply(context, NULL, "123456"), ERROR_INVALID_PARAMETER);
    FAILS(supply(context, NULL, NULL), ERROR_INVALID_PARAMETER);
    FAILS(supply(context, NULL, arguments[3]), ERROR_ACCESS_DENIED);
    FAILS(ScanRestorableFiles(context, ROOT, 0, NULL, &used), ERROR_ACCESS_DENIED);
    WORKS(supply(context, NULL, arguments[2]));
    WORKS(DetectEncryptedVolume(context, &bits));
    CHECK(bits == VOLUME_INFO_ENCRYPTED);
    CHECK(count(context, "\\") > 0);
    closed(context);
}

static void keys_after_the_first_scan_are_too_late(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_1);
    ULONG used;
    WORKS(supply(context, arguments[1], NULL));
    WORKS(ScanRestorableFiles(context, ROOT, 0, NULL, &used));
    FAILS(supply(context, arguments[1], NULL), ERROR_INVALID_PARAMETER);
    CHECK(count(context, "\\") > 0);
    FAILS(supply(context, arguments[1], NULL), ERROR_INVALID_PARAMETER);
    closed(context);
}

/* Arguments: a volume without metadata, a recovery password, a file with the key package. */
static void a_key_package_stands_for_lost_metadata(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_1);
    WCHAR password[MAX_UNITS];
    unsigned char package[8192];
    FILE *file = fopen(arguments[2], "rb");
    size_t size;
    CHECK(file != NULL);
    size = fread(package, 1, sizeof package, file);
    fclose(file);
    to_utf16(arguments[1], password);
    FAILS(supply(context, NULL, arguments[1]), ERROR_ACCESS_DENIED);
    FAILS(SupplyDecryptionInfo(context, NULL, NULL, package, (ULONG)size), ERROR_INVALID_PARAMETER);
    FAILS(SupplyDecryptionInfo(context, NULL, password, package, 0), ERROR_INVALID_PARAMETER);
    FAILS(SupplyDecryptionInfo(context, NULL, password, package, 40), ERROR_INVALID_PARAMETER);
    WORKS(SupplyDecryptionInfo(context, NULL, password, package, (ULONG)size));
    CHECK(count(context, "\\") > 0);
    closed(context);
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

/* Opens the volume, says so, and waits to be told to close it by a line on standard input. */
static void hold(void)
{
    PFILE_RESTORE_CONTEXT context = opened(REMOVED, FILE_RESTORE_VERSION_2);
    free(next(context));
    puts("open");
    fflush(stdout);
    getchar();
    closed(context);
    puts("closed");
    fflush(stdout);
    getchar();
}

#define CASE(name)                                                                                                    \
    {                                                                                                                 \
        #name, name                                                                                                   \
    }

static const struct {
    const char *name;
    void (*run)(void);
} CASES[] = {
    CASE(create_with_another_version_is_invalid_parameter),
    CASE(create_on_a_system_of_one_version_refuses_the_other),
    CASE(create_takes_exactly_one_of_volume_and_disk_and_no_unknown_flag),
    CASE(create_of_a_volume_that_is_not_there_is_file_not_found),
    CASE(create_with_a_volume_ignores_the_sectors),
    CASE(create_with_a_disk_takes_the_boot_sector_at_either_end),
    CASE(create_with_a_volume_refuses_a_disk_with_several),
    CASE(close_of_a_closed_foreign_or_null_context_is_invalid_handle),
    CASE(every_call_with_a_closed_context_is_invalid_handle),
    CASE(scan_delivers_an_entry),
    CASE(scan_with_too_small_a_buffer_is_insufficient_buffer_and_loses_nothing),
    CASE(scan_with_nothing_left_is_no_more_files_again_and_again),
    CASE(scan_with_size_0_succeeds_with_the_needed_size_and_does_not_advance),
    CASE(scan_without_room_for_its_answer_is_invalid_parameter),
    CASE(scan_takes_any_buffer_whatever_its_alignment),
    CASE(scan_reads_its_path_on_the_first_call_only),
    CASE(scan_of_a_missing_folder_is_path_not_found_and_can_begin_elsewhere),
    CASE(scan_flags_say_what_is_listed),
    CASE(restore_copies_a_file_and_tells_of_it),
    CASE(restore_of_an_overwritten_file_succeeds_as_a_partial_copy),
    CASE(restore_of_a_directory_is_invalid_parameter),
    CASE(restore_of_an_entry_of_another_context_is_invalid_parameter),
    CASE(restore_to_a_place_that_cannot_be_written_says_why),
    CASE(restore_is_cancelled_by_its_callback_and_leaves_nothing),
    CASE(restore_to_a_full_disk_is_disk_full_and_leaves_nothing),
    CASE(restore_that_leaves_an_incomplete_file_says_so),
    CASE(restore_is_cancelled_by_a_close_from_another_thread),
    CASE(restore_is_cancelled_by_a_close_in_its_own_callback),
    CASE(detect_boot_sector_needs_no_context_and_leaves_the_last_error),
    CASE(detect_encrypted_volume_of_a_plain_one_tells_so),
    CASE(in_version_2_what_is_obsolete_is_not_supported),
    CASE(in_version_2_the_extension_is_a_flag_or_the_environment),
    CASE(a_locked_volume_is_created_and_scanned_only_with_a_key),
    CASE(keys_after_the_first_scan_are_too_late),
    CASE(a_key_package_stands_for_lost_metadata),
    CASE(restore_works_while_scanning_and_when_exhausted),
    CASE(restore_before_any_scan_knows_no_entry),
    CASE(close_works_in_every_state),
    CASE(threads_share_a_scan_without_losing_or_doubling_an_entry),
    CASE(a_close_ends_the_calls_of_all_threads),
    CASE(each_thread_has_its_own_last_error),
    CASE(hold),
};

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: contract CASE ARGUMENT...\n");
        return 2;
    }
    load();
    arguments = argv + 2;
    for (size_t n = 0; n < sizeof CASES / sizeof *CASES; n++) {
        if (strcmp(argv[1], CASES[n].name) == 0) {
            CASES[n].run();
            return 0;
        }
    }
    fprintf(stderr, "there is no case %s\n", argv[1]);
    return 2;
}
