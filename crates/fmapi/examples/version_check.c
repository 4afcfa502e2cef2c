/* Tells whether the library has version 2 of the API. version_check VOLUME */
#include "common.h"

int main(int argc, char **argv)
{
    WCHAR volume[MAX_UNITS];
    PFILE_RESTORE_CONTEXT context = NULL;

    if (argc != 2) {
        fprintf(stderr, "usage: version_check VOLUME\n");
        return 2;
    }
    load();
    to_utf16(argv[1], volume);
    if (!CreateFileRestoreContext(volume, (RESTORE_CONTEXT_FLAGS)(ContextFlagVolume | FlagScanRemovedFiles), 0, 0,
                                  FILE_RESTORE_VERSION_2, &context)) {
        DWORD error = GetLastError();
        if (error == ERROR_INVALID_PARAMETER) {
            printf("another version\n");
            return 0;
        }
        fprintf(stderr, "CreateFileRestoreContext: error %u\n", error);
        return EXIT_FAILURE;
    }
    printf("version 2\n");
    if (!CloseFileRestoreContext(context)) {
        fprintf(stderr, "CloseFileRestoreContext: error %u\n", GetLastError());
        return EXIT_FAILURE;
    }
    return 0;
}
