/* What the examples share: loading the library, and strings. */
#ifndef FMAPI_EXAMPLES_COMMON_H
#define FMAPI_EXAMPLES_COMMON_H

#define FMAPI_NO_PROTOTYPES
#include "fmapi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
/* What loads a library on Windows, by the names of POSIX. */
#include <fcntl.h>
#include <io.h>
#define LIBRARY "fmapi.dll"
#define dlopen(path, how) ((void *)LoadLibraryA(path))
#define dlsym(library, name) ((void *)(uintptr_t)GetProcAddress((HMODULE)(library), name))
#define dlclose(library) FreeLibrary((HMODULE)(library))
#define dlerror() "the library or a function of it is not there"
#else
#include <dlfcn.h>
#define LIBRARY "libfmapi.so"
#endif

#define UNUSED __attribute__((unused))

/* Longest string of the examples, in units. */
#define MAX_UNITS 4096

/* The functions of the library, by their own names. */
static BOOL(WINAPI *CreateFileRestoreContext)(PCWSTR, RESTORE_CONTEXT_FLAGS, LONGLONG, LONGLONG, DWORD,
                                              PFILE_RESTORE_CONTEXT *) UNUSED;
static BOOL(WINAPI *CloseFileRestoreContext)(PFILE_RESTORE_CONTEXT) UNUSED;
static BOOL(WINAPI *ScanRestorableFiles)(PFILE_RESTORE_CONTEXT, PCWSTR, ULONG, PRESTORABLE_FILE_INFO, PULONG) UNUSED;
static BOOL(WINAPI *RestoreFile)(PFILE_RESTORE_CONTEXT, PRESTORABLE_FILE_INFO, PCWSTR, FILE_RESTORE_CALLBACK,
                                 PVOID) UNUSED;
static BOOL(WINAPI *DetectBootSector)(CONST UCHAR *, PBOOT_SECTOR_INFO) UNUSED;
static BOOL(WINAPI *DetectEncryptedVolume)(PFILE_RESTORE_CONTEXT, PDWORD) UNUSED;
static BOOL(WINAPI *DetectEncryptedVolumeEx)(PFILE_RESTORE_CONTEXT, PDWORD, PULONGLONG) UNUSED;
static BOOL(WINAPI *SupplyDecryptionInfo)(PFILE_RESTORE_CONTEXT, PCWSTR, PVOID, PVOID, ULONG) UNUSED;
static uint32_t(WINAPI *FmapiGetLastError)(void) UNUSED;

static void *library;

/* Finds a function; ends the program where it is not there. */
static void find(void *function, const char *name)
{
    void *found = dlsym(library, name);
    if (found == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(EXIT_FAILURE);
    }
    memcpy(function, &found, sizeof found);
}

/* Loads the library that FMAPI_LIBRARY names, or the one of that name that the system finds. */
static void load(void)
{
    const char *path = getenv("FMAPI_LIBRARY");
#ifdef _WIN32
    /* Line ends are the same on every system, and bytes stay what they are. */
    _setmode(_fileno(stdout), _O_BINARY);
#endif
    library = dlopen(path != NULL ? path : LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(EXIT_FAILURE);
    }
    find(&CreateFileRestoreContext, "CreateFileRestoreContext");
    find(&CloseFileRestoreContext, "CloseFileRestoreContext");
    find(&ScanRestorableFiles, "ScanRestorableFiles");
    find(&RestoreFile, "RestoreFile");
    find(&DetectBootSector, "DetectBootSector");
    find(&DetectEncryptedVolume, "DetectEncryptedVolume");
    find(&DetectEncryptedVolumeEx, "DetectEncryptedVolumeEx");
    find(&SupplyDecryptionInfo, "SupplyDecryptionInfo");
    find(&FmapiGetLastError, "FmapiGetLastError");
}

/* Writes what a path of Linux, in UTF-8, is in UTF-16. */
UNUSED static void to_utf16(const char *text, WCHAR out[MAX_UNITS])
{
    size_t n = 0;
    const unsigned char *at = (const unsigned char *)text;
    while (*at != 0 && n < MAX_UNITS - 2) {
        uint32_t point = *at;
        int more = point >= 0xF0 ? 3 : point >= 0xE0 ? 2 : point >= 0xC0 ? 1 : 0;
        point &= more == 0 ? 0x7F : 0x3Fu >> more;
        at++;
        for (; more > 0 && *at != 0; more--, at++) {
            point = point << 6 | (*at & 0x3Fu);
        }
        if (point >= 0x10000) {
            out[n++] = (WCHAR)(0xD7C0 + (point >> 10));
            out[n++] = (WCHAR)(0xDC00 | (point & 0x3FF));
        } else {
            out[n++] = (WCHAR)point;
        }
    }
    out[n] = 0;
}

/* Prints UTF-16 as UTF-8. A surrogate without the other becomes three bytes of its own. */
UNUSED static void print_utf16(const WCHAR *at)
{
    for (; *at != 0; at++) {
        uint32_t point = *at;
        if (point >= 0xD800 && point < 0xDC00 && at[1] >= 0xDC00 && at[1] < 0xE000) {
            point = 0x10000 + ((point - 0xD800) << 10) + (at[1] - 0xDC00u);
            at++;
        }
        if (point < 0x80) {
            putchar((int)point);
        } else if (point < 0x800) {
            printf("%c%c", (int)(0xC0 | point >> 6), (int)(0x80 | (point & 0x3F)));
        } else if (point < 0x10000) {
            printf("%c%c%c", (int)(0xE0 | point >> 12), (int)(0x80 | (point >> 6 & 0x3F)), (int)(0x80 | (point & 0x3F)));
        } else {
            printf("%c%c%c%c", (int)(0xF0 | point >> 18), (int)(0x80 | (point >> 12 & 0x3F)),
                   (int)(0x80 | (point >> 6 & 0x3F)), (int)(0x80 | (point & 0x3F)));
        }
    }
}

#endif
