/* Contexts and their scans. */
#include "contract.h"

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

static const struct contract_case CASES[] = {
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
    CASE(detect_boot_sector_needs_no_context_and_leaves_the_last_error),
    CASE(hold),
};

int main(int argc, char **argv)
{
    return run_case(argc, argv, CASES, sizeof CASES / sizeof *CASES);
}
