/*
 * Lists the deleted files of a volume. scan VOLUME [all|count|quiet]
 * With `all` also deleted folders, and what still exists. With `count` deleted files and folders are only counted, with
 * `quiet` everything is.
 */
#include "common.h"

int main(int argc, char **argv)
{
    WCHAR volume[MAX_UNITS];
    const WCHAR root[] = {'\\', 0};
    PFILE_RESTORE_CONTEXT context = NULL;
    PRESTORABLE_FILE_INFO info;
    RESTORE_CONTEXT_FLAGS flags = (RESTORE_CONTEXT_FLAGS)(ContextFlagVolume | FlagScanRemovedFiles);
    ULONG size = 0;
    unsigned long count = 0;
    int quiet = argc == 3 && strcmp(argv[2], "all") != 0;
    int result = EXIT_FAILURE;

    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: scan VOLUME [all|count|quiet]\n");
        return 2;
    }
    if (argc == 3) {
        flags = (RESTORE_CONTEXT_FLAGS)(flags | FlagScanIncludeRemovedDirectories);
        if (strcmp(argv[2], "count") != 0) {
            flags = (RESTORE_CONTEXT_FLAGS)(flags | FlagScanRegularFiles);
        }
    }
    load();
    to_utf16(argv[1], volume);
    if (!CreateFileRestoreContext(volume, flags, 0, 0, FILE_RESTORE_VERSION_CURRENT, &context)) {
        fprintf(stderr, "CreateFileRestoreContext: error %u\n", GetLastError());
        return EXIT_FAILURE;
    }
    /* With no room at all the first call tells how much the first entry needs. */
    if (!ScanRestorableFiles(context, root, 0, NULL, &size)) {
        if (GetLastError() == ERROR_NO_MORE_FILES) {
            result = 0;
        } else {
            fprintf(stderr, "ScanRestorableFiles: error %u\n", GetLastError());
        }
        CloseFileRestoreContext(context);
        return result;
    }
    info = malloc(size);
    while (info != NULL) {
        ULONG needed = 0;
        if (ScanRestorableFiles(context, root, size, info, &needed)) {
            count++;
            if (!quiet) {
                printf("%s\t%llu\t", info->IsRemoved ? "deleted" : "regular", (unsigned long long)info->FileSize);
                print_utf16(info->FileName);
                putchar('\n');
            }
        } else if (GetLastError() == ERROR_INSUFFICIENT_BUFFER) {
            PRESTORABLE_FILE_INFO larger = realloc(info, needed);
            if (larger == NULL) {
                break;
            }
            info = larger;
            size = needed;
        } else if (GetLastError() == ERROR_NO_MORE_FILES) {
            result = 0;
            break;
        } else {
            fprintf(stderr, "ScanRestorableFiles: error %u\n", GetLastError());
            break;
        }
    }
    free(info);
    if (quiet) {
        printf("%lu\n", count);
    }
    if (!CloseFileRestoreContext(context)) {
        fprintf(stderr, "CloseFileRestoreContext: error %u\n", GetLastError());
        return EXIT_FAILURE;
    }
    return result;
}
