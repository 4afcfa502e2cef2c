/*
 * Restores every deleted file of a volume. restore_all VOLUME DEST [RECOVERY-PASSWORD]
 * The files are DEST/0, DEST/1 and so on. For each is told, in columns: its number, the last error, the packets that the
 * callback got (progress and finished), its size and its path. A 0 ends it, because there are names with line ends.
 */
#include "common.h"

/* What the callback was told of one file. */
struct told {
    unsigned progress;
    unsigned finished;
    LONGLONG completed;
    LONGLONG total;
    ULONG result;
    BOOL success;
};

static BOOLEAN follow(FILE_RESTORE_PACKET_TYPE type, ULONG length, PVOID data)
{
    if (type == FileRestoreProgressInfo && length == sizeof(FILE_RESTORE_PROGRESS_INFORMATION)) {
        const FILE_RESTORE_PROGRESS_INFORMATION *progress = data;
        struct told *told = progress->ClbkArg;
        told->progress++;
        told->completed = progress->TotalBytesCompleted;
        told->total = progress->TotalFileSize;
    } else if (type == FileRestoreFinished && length == sizeof(FILE_RESTORE_FINISHED_INFORMATION)) {
        const FILE_RESTORE_FINISHED_INFORMATION *finished = data;
        struct told *told = finished->ClbkArg;
        told->finished++;
        told->result = finished->FinalResult;
        told->success = finished->Success;
    }
    return TRUE;
}

/* Restores one file; false where the callback and the function do not tell the same. */
static int restore(PFILE_RESTORE_CONTEXT context, PRESTORABLE_FILE_INFO info, unsigned long number, const char *dest)
{
    char path[MAX_UNITS];
    WCHAR wide[MAX_UNITS];
    struct told told = {0, 0, 0, 0, 0, 0};
    BOOL success;
    DWORD error;

    snprintf(path, sizeof path, "%s/%lu", dest, number);
    to_utf16(path, wide);
    success = RestoreFile(context, info, wide, follow, &told);
    error = GetLastError();
    printf("%lu\t%u\t%u\t%u\t%llu\t", number, error, told.progress, told.finished, (unsigned long long)info->FileSize);
    print_utf16(info->FileName);
    putchar('\0');
    return told.finished == 1 && told.result == error && !told.success == !success &&
           (!success || told.completed == told.total);
}

int main(int argc, char **argv)
{
    WCHAR volume[MAX_UNITS], password[MAX_UNITS];
    const WCHAR root[] = {'\\', 0};
    PFILE_RESTORE_CONTEXT context = NULL;
    PRESTORABLE_FILE_INFO info = NULL;
    ULONG size = 0, needed = 0;
    unsigned long number = 0;
    int sound = 1;

    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: restore_all VOLUME DEST [RECOVERY-PASSWORD]\n");
        return 2;
    }
    load();
    to_utf16(argv[1], volume);
    if (!CreateFileRestoreContext(
            volume, (RESTORE_CONTEXT_FLAGS)(ContextFlagVolume | FlagScanRemovedFiles | FlagScanRegularFiles), 0, 0,
            FILE_RESTORE_VERSION_1, &context)) {
        fprintf(stderr, "CreateFileRestoreContext: error %u\n", GetLastError());
        return EXIT_FAILURE;
    }
    if (argc == 4) {
        to_utf16(argv[3], password);
        if (!SupplyDecryptionInfo(context, NULL, password, NULL, 0)) {
            fprintf(stderr, "SupplyDecryptionInfo: error %u\n", GetLastError());
            CloseFileRestoreContext(context);
            return EXIT_FAILURE;
        }
    }
    for (;;) {
        if (ScanRestorableFiles(context, root, size, info, &needed) && size > 0) {
            if (info->IsRemoved && !(info->Attributes & 0x10)) {
                sound &= restore(context, info, number, argv[2]);
                number++;
            }
        } else if (GetLastError() == ERROR_SUCCESS || GetLastError() == ERROR_INSUFFICIENT_BUFFER) {
            PRESTORABLE_FILE_INFO larger = realloc(info, needed);
            if (larger == NULL) {
                break;
            }
            info = larger;
            size = needed;
        } else {
            break;
        }
    }
    sound &= GetLastError() == ERROR_NO_MORE_FILES;
    free(info);
    sound &= CloseFileRestoreContext(context) && !CloseFileRestoreContext(context) &&
             GetLastError() == ERROR_INVALID_HANDLE;
    dlclose(library);
    return sound ? 0 : EXIT_FAILURE;
}
