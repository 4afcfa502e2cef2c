/*
 * What the programs share that check the contract of the library, a case for each row of the documented tables.
 * PROGRAM CASE ARGUMENT... The first argument is a volume; most cases want the bundled image.
 */
#ifndef CONTRACT_H
#define CONTRACT_H

#include "common.h"

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

UNUSED static const WCHAR ROOT[] = {'\\', 0};
static char **arguments;

UNUSED static BOOL create(const char *volume, unsigned flags, LONGLONG start, LONGLONG boot, DWORD version,
                   PFILE_RESTORE_CONTEXT *context)
{
    WCHAR wide[MAX_UNITS];
    to_utf16(volume, wide);
    return CreateFileRestoreContext(wide, (RESTORE_CONTEXT_FLAGS)flags, start, boot, version, context);
}

UNUSED static PFILE_RESTORE_CONTEXT opened(unsigned flags, DWORD version)
{
    PFILE_RESTORE_CONTEXT context = NULL;
    WORKS(create(arguments[0], flags, 0, 0, version, &context));
    CHECK(context != NULL);
    return context;
}

/* The next entry below `folder`; NULL at the end. */
UNUSED static PRESTORABLE_FILE_INFO next_below(PFILE_RESTORE_CONTEXT context, const char *folder)
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

UNUSED static PRESTORABLE_FILE_INFO next(PFILE_RESTORE_CONTEXT context)
{
    return next_below(context, "\\");
}

UNUSED static int is_named(const RESTORABLE_FILE_INFO *info, const char *path)
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
UNUSED static PRESTORABLE_FILE_INFO entry(PFILE_RESTORE_CONTEXT context, const char *path)
{
    PRESTORABLE_FILE_INFO info;
    while ((info = next(context)) != NULL && !is_named(info, path)) {
        free(info);
    }
    CHECK(info != NULL);
    return info;
}

UNUSED static unsigned long count(PFILE_RESTORE_CONTEXT context, const char *folder)
{
    unsigned long n = 0;
    PRESTORABLE_FILE_INFO info;
    while ((info = next_below(context, folder)) != NULL) {
        n++;
        free(info);
    }
    return n;
}

UNUSED static BOOL restore(PFILE_RESTORE_CONTEXT context, PRESTORABLE_FILE_INFO info, const char *path,
                    FILE_RESTORE_CALLBACK callback, PVOID argument)
{
    WCHAR wide[MAX_UNITS];
    to_utf16(path, wide);
    return RestoreFile(context, info, wide, callback, argument);
}

UNUSED static long long size_of(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? (long long)status.st_size : -1;
}

UNUSED static void closed(PFILE_RESTORE_CONTEXT context)
{
    WORKS(CloseFileRestoreContext(context));
}

struct contract_case {
    const char *name;
    void (*run)(void);
};

#define CASE(name)                                                                                                    \
    {                                                                                                                 \
        #name, name                                                                                                   \
    }

/* Runs the case that the command line names. */
static int run_case(int argc, char **argv, const struct contract_case *cases, size_t number)
{
    if (argc < 3) {
        fprintf(stderr, "usage: %s CASE ARGUMENT...\n", argv[0]);
        return 2;
    }
    load();
    arguments = argv + 2;
    for (size_t n = 0; n < number; n++) {
        if (strcmp(argv[1], cases[n].name) == 0) {
            cases[n].run();
            return 0;
        }
    }
    fprintf(stderr, "there is no case %s\n", argv[1]);
    return 2;
}

#endif
