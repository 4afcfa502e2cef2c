/*
 * Copies encrypted files as they are.
 *
 * efs_copy export FILE RAW                    writes the raw backup stream of an encrypted file
 * efs_copy import RAW FILE [KEY [PASSWORD]]   makes a file of one: an encrypted one, or with a key a plain one
 *
 * FILE is on a mounted volume, or goes on behind the path of an image: disk.img/Users/me/secret.doc.
 */
#include "efs.h"

static DWORD WINAPI take(PBYTE data, PVOID file, ULONG length)
{
    return fwrite(data, 1, length, file) == length ? ERROR_SUCCESS : ERROR_WRITE_FAULT;
}

static DWORD WINAPI give(PBYTE data, PVOID file, PULONG length)
{
    *length = (ULONG)fread(data, 1, *length, file);
    return ferror((FILE *)file) ? ERROR_IO_DEVICE : ERROR_SUCCESS;
}

int main(int argc, char **argv)
{
    WCHAR key[MAX_UNITS], password[MAX_UNITS];
    PVOID context = NULL;
    DWORD error = ERROR_SUCCESS;
    FILE *raw;
    int is_import = argc >= 4 && strcmp(argv[1], "import") == 0;

    if (argc < 4 || argc > 6 || (!is_import && (argc > 4 || strcmp(argv[1], "export") != 0))) {
        fprintf(stderr, "usage: %s export FILE RAW | import RAW FILE [KEY [PASSWORD]]\n", argv[0]);
        return 2;
    }
    load_efs();
    if (argc > 4) {
        to_utf16(argv[4], key);
        to_utf16(argc > 5 ? argv[5] : "", password);
        error = EfsRawAddKeyFile(key, password);
    }
    if (error == ERROR_SUCCESS) {
        error = OpenEncryptedFileRawA(argv[is_import ? 3 : 2], is_import ? CREATE_FOR_IMPORT : 0, &context);
    }
    if (error == ERROR_SUCCESS) {
        raw = fopen(argv[is_import ? 2 : 3], is_import ? "rb" : "wb");
        if (raw == NULL) {
            perror(argv[is_import ? 2 : 3]);
            CloseEncryptedFileRaw(context);
            return 1;
        }
        error = is_import ? WriteEncryptedFileRaw(give, raw, context) : ReadEncryptedFileRaw(take, raw, context);
        if (fclose(raw) != 0 && error == ERROR_SUCCESS) {
            error = ERROR_WRITE_FAULT;
        }
        CloseEncryptedFileRaw(context);
    }
    EfsRawClearKeys();
    if (error != ERROR_SUCCESS) {
        fprintf(stderr, "error %u\n", error);
    }
    return error != ERROR_SUCCESS;
}
