/*
 * The raw backup of encrypted files. Arguments: an encrypted file, a raw backup stream, a folder to make files in, a key
 * file and its password, as far as a case needs them.
 */
#include "contract.h"

#include "efs.h"

#include <dirent.h>
#include <pthread.h>

#define IS(call, error)                                                                                               \
    do {                                                                                                              \
        DWORD returned = (call);                                                                                      \
        if (returned != (error)) {                                                                                    \
            fprintf(stderr, "line %d: %s is %u\n", __LINE__, #call, returned);                                        \
            exit(EXIT_FAILURE);                                                                                       \
        }                                                                                                             \
    } while (0)

/* Bytes that a callback gives or takes. */
struct bytes {
    unsigned char *data;
    size_t len, at;
    /* Most that is given at once. */
    size_t piece;
    unsigned calls, empty;
    /* The call that fails, and how. */
    unsigned fails_at;
    DWORD error;
    PVOID close;
};

static struct bytes read_all(const char *path)
{
    struct bytes bytes = {.piece = 1 << 20};
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    CHECK(fseek(file, 0, SEEK_END) == 0);
    bytes.len = (size_t)ftell(file);
    rewind(file);
    bytes.data = malloc(bytes.len + 1);
    CHECK(fread(bytes.data, 1, bytes.len, file) == bytes.len);
    fclose(file);
    return bytes;
}

static int same(const struct bytes *one, const struct bytes *other)
{
    return one->len == other->len && one->data != NULL && memcmp(one->data, other->data, one->len) == 0;
}

static DWORD WINAPI give(PBYTE data, PVOID context, PULONG length)
{
    struct bytes *bytes = context;
    size_t len = bytes->len - bytes->at;
    CHECK(*length > 0 && data != NULL);
    if (++bytes->calls == bytes->fails_at) {
        return bytes->error;
    }
    if (bytes->close != NULL) {
        CloseEncryptedFileRaw(bytes->close);
    }
    len = len < bytes->piece ? len : bytes->piece;
    len = len < *length ? len : *length;
    memcpy(data, bytes->data + bytes->at, len);
    bytes->at += len;
    *length = (ULONG)len;
    bytes->empty += len == 0;
    return ERROR_SUCCESS;
}

static DWORD WINAPI take(PBYTE data, PVOID context, ULONG length)
{
    struct bytes *bytes = context;
    CHECK(data != NULL && bytes->empty == 0);
    if (++bytes->calls == bytes->fails_at) {
        return bytes->error;
    }
    if (bytes->close != NULL) {
        CloseEncryptedFileRaw(bytes->close);
    }
    bytes->empty += length == 0;
    bytes->data = realloc(bytes->data, bytes->len + length + 1);
    memcpy(bytes->data + bytes->len, data, length);
    bytes->len += length;
    return ERROR_SUCCESS;
}

static PVOID opened_raw(const char *name, ULONG flags)
{
    PVOID context = NULL;
    IS(OpenEncryptedFileRawA(name, flags, &context), ERROR_SUCCESS);
    CHECK(context != NULL);
    return context;
}

static const char *in_folder(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", arguments[2], name);
    return path;
}

static unsigned files(void)
{
    unsigned n = 0;
    struct dirent *entry;
    DIR *dir = opendir(arguments[2]);
    CHECK(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(dir);
    return n;
}

static void add_key(void)
{
    WCHAR file[MAX_UNITS], password[MAX_UNITS];
    to_utf16(arguments[3], file);
    to_utf16(arguments[4], password);
    IS(EfsRawAddKeyFile(file, password), ERROR_SUCCESS);
}

static DWORD import(const char *name, ULONG flags, struct bytes *bytes)
{
    PVOID context;
    DWORD error = OpenEncryptedFileRawA(name, CREATE_FOR_IMPORT | flags, &context);
    if (error == ERROR_SUCCESS) {
        bytes->at = 0;
        bytes->calls = 0;
        error = WriteEncryptedFileRaw(give, bytes, context);
        CloseEncryptedFileRaw(context);
    }
    return error;
}

static void check_is(const char *path, const struct bytes *expected)
{
    struct bytes found = read_all(path);
    CHECK(same(&found, expected));
    free(found.data);
}

static void export_gives_all_bytes_and_one_empty_piece_by_either_name(void)
{
    struct bytes expected = read_all(arguments[1]);
    struct bytes found = {0};
    WCHAR wide[MAX_UNITS];
    PVOID context = opened_raw(arguments[0], 0);
    IS(ReadEncryptedFileRaw(take, &found, context), ERROR_SUCCESS);
    CloseEncryptedFileRaw(context);
    CHECK(found.empty == 1 && found.calls > 1);
    CHECK(same(&found, &expected));
    free(found.data);
    found = (struct bytes){0};
    to_utf16(arguments[0], wide);
    IS(OpenEncryptedFileRawW(wide, 0, &context), ERROR_SUCCESS);
    IS(ReadEncryptedFileRaw(take, &found, context), ERROR_SUCCESS);
    CloseEncryptedFileRaw(context);
    CHECK(same(&found, &expected));
    free(found.data);
    free(expected.data);
}

static void a_context_is_for_its_own_direction_and_used_once(void)
{
    struct bytes raw = read_all(arguments[1]);
    struct bytes found = {0};
    PVOID context = opened_raw(arguments[0], 0);
    IS(WriteEncryptedFileRaw(give, &raw, context), ERROR_INVALID_PARAMETER);
    IS(ReadEncryptedFileRaw(take, &found, context), ERROR_SUCCESS);
    IS(ReadEncryptedFileRaw(take, &found, context), ERROR_INVALID_PARAMETER);
    CloseEncryptedFileRaw(context);
    add_key();
    context = opened_raw(in_folder("made"), CREATE_FOR_IMPORT);
    IS(ReadEncryptedFileRaw(take, &found, context), ERROR_INVALID_PARAMETER);
    CHECK(files() == 0);
    IS(WriteEncryptedFileRaw(give, &raw, context), ERROR_SUCCESS);
    CHECK(files() > 0);
    IS(WriteEncryptedFileRaw(give, &raw, context), ERROR_INVALID_PARAMETER);
    CloseEncryptedFileRaw(context);
    EfsRawClearKeys();
    free(found.data);
    free(raw.data);
}

static void what_is_no_context_is_an_invalid_handle(void)
{
    struct bytes found = {0};
    int mine = 0;
    PVOID context = opened_raw(arguments[0], 0);
    PFILE_RESTORE_CONTEXT other = NULL;
    CloseEncryptedFileRaw(context);
    CloseEncryptedFileRaw(context);
    CloseEncryptedFileRaw(NULL);
    CloseEncryptedFileRaw(&mine);
    IS(ReadEncryptedFileRaw(take, &found, context), ERROR_INVALID_HANDLE);
    IS(ReadEncryptedFileRaw(take, &found, NULL), ERROR_INVALID_HANDLE);
    IS(ReadEncryptedFileRaw(take, &found, &mine), ERROR_INVALID_HANDLE);
    IS(WriteEncryptedFileRaw(give, &found, context), ERROR_INVALID_HANDLE);
    /* Nor is one of another family. */
    context = opened_raw(arguments[0], 0);
    FAILS(CloseFileRestoreContext(context), ERROR_INVALID_HANDLE);
    CHECK(create(arguments[5], REMOVED, 0, 0, FILE_RESTORE_VERSION_2, &other) && other != context);
    IS(ReadEncryptedFileRaw(take, &found, other), ERROR_INVALID_HANDLE);
    CloseEncryptedFileRaw(other);
    closed(other);
    CloseEncryptedFileRaw(context);
    CHECK(found.calls == 0);
}

static void null_pointers_and_empty_names_are_invalid_parameters(void)
{
    struct bytes bytes = {0};
    PVOID context = &bytes;
    WCHAR none = 0;
    IS(OpenEncryptedFileRawA(arguments[0], 0, NULL), ERROR_INVALID_PARAMETER);
    IS(OpenEncryptedFileRawA(NULL, 0, &context), ERROR_INVALID_PARAMETER);
    CHECK(context == NULL);
    IS(OpenEncryptedFileRawW(NULL, CREATE_FOR_IMPORT, &context), ERROR_INVALID_PARAMETER);
    IS(OpenEncryptedFileRawW(&none, 0, &context), ERROR_INVALID_PARAMETER);
    IS(OpenEncryptedFileRawA("", CREATE_FOR_IMPORT, &context), ERROR_INVALID_PARAMETER);
    IS(EfsRawAddKeyFile(NULL, NULL), ERROR_INVALID_PARAMETER);
    context = opened_raw(arguments[0], 0);
    IS(ReadEncryptedFileRaw(NULL, NULL, context), ERROR_INVALID_PARAMETER);
    IS(WriteEncryptedFileRaw(NULL, NULL, context), ERROR_INVALID_PARAMETER);
    /* That was no use of it. */
    IS(ReadEncryptedFileRaw(take, &bytes, context), ERROR_SUCCESS);
    CloseEncryptedFileRaw(context);
    free(bytes.data);
}

static void an_error_of_the_callback_is_returned_and_nothing_is_made(void)
{
    struct bytes raw = read_all(arguments[1]);
    unsigned calls;
    raw.piece = 100;
    add_key();
    IS(import(in_folder("whole"), 0, &raw), ERROR_SUCCESS);
    CHECK(raw.empty == 1 && files() > 0);
    calls = raw.calls;
    unlink(in_folder("whole"));
    unlink(in_folder("whole:note"));
    CHECK(files() == 0);
    raw.error = 0xDEADBEEF;
    for (raw.fails_at = 1; raw.fails_at <= calls; raw.fails_at += raw.fails_at < 5 ? 1 : 7) {
        IS(import(in_folder("made"), 0, &raw), 0xDEADBEEF);
        CHECK(files() == 0);
    }
    for (unsigned at = 1; at <= 2; at++) {
        struct bytes found = {.fails_at = at, .error = 1234};
        PVOID context = opened_raw(arguments[0], 0);
        IS(ReadEncryptedFileRaw(take, &found, context), 1234);
        CHECK(found.calls == at && found.empty == 0);
        CloseEncryptedFileRaw(context);
        free(found.data);
    }
    EfsRawClearKeys();
    free(raw.data);
}

static DWORD WINAPI give_too_much(PBYTE data, PVOID context, PULONG length)
{
    (void)data;
    (void)context;
    *length += 1;
    return ERROR_SUCCESS;
}

static void a_callback_that_gives_more_than_there_is_room_for_is_not_believed(void)
{
    PVOID context;
    add_key();
    context = opened_raw(in_folder("made"), CREATE_FOR_IMPORT);
    IS(WriteEncryptedFileRaw(give_too_much, NULL, context), ERROR_INVALID_PARAMETER);
    CloseEncryptedFileRaw(context);
    CHECK(files() == 0);
    EfsRawClearKeys();
}

static void closing_in_a_callback_cancels_and_frees(void)
{
    struct bytes raw = read_all(arguments[1]);
    struct bytes found = {0};
    PVOID context = opened_raw(arguments[0], 0);
    found.close = context;
    IS(ReadEncryptedFileRaw(take, &found, context), ERROR_CANCELLED);
    CHECK(found.calls == 1);
    IS(ReadEncryptedFileRaw(take, &found, context), ERROR_INVALID_HANDLE);
    add_key();
    context = opened_raw(in_folder("made"), CREATE_FOR_IMPORT);
    raw.close = context;
    raw.piece = 64;
    IS(WriteEncryptedFileRaw(give, &raw, context), ERROR_CANCELLED);
    CHECK(files() == 0);
    EfsRawClearKeys();
    free(found.data);
    free(raw.data);
}

/* Cut at every byte: not one of the cuts is taken for the whole, and what was there stays. */
static void a_stream_cut_at_any_byte_is_not_export_format_and_leaves_nothing(void)
{
    static const char old[] = "what was there";
    struct bytes raw = read_all(arguments[1]);
    struct bytes before = {.data = (unsigned char *)old, .len = sizeof old - 1};
    size_t whole = raw.len, last = strtoull(arguments[5], NULL, 10);
    FILE *file = fopen(in_folder("target"), "wb");
    unsigned there, between = 0;
    CHECK(file != NULL && fwrite(old, 1, before.len, file) == before.len && fclose(file) == 0);
    there = files();
    if (arguments[3][0] != 0) {
        add_key();
    }
    for (size_t cut = 0; cut < whole; cut++) {
        DWORD error;
        raw.len = cut;
        raw.piece = cut % 3 == 0 ? 1 + cut % 97 : 1 << 20;
        error = import(in_folder("target"), 0, &raw);
        if (error == ERROR_SUCCESS) {
            /* Between two parts: the format cannot tell it from a shorter file. */
            between++;
            CHECK(cut >= last);
            CHECK(unlink(in_folder("target")) == 0);
            unlink(in_folder("target:note"));
            file = fopen(in_folder("target"), "wb");
            CHECK(file != NULL && fwrite(old, 1, before.len, file) == before.len && fclose(file) == 0);
        } else {
            IS(error, ERROR_NOT_EXPORT_FORMAT);
        }
        CHECK(files() == there);
        check_is(in_folder("target"), &before);
    }
    printf("%u\n", between);
    EfsRawClearKeys();
    free(raw.data);
}

/* Each further argument is a stream that is none. */
static void a_stream_that_lies_is_not_export_format_and_leaves_nothing(void)
{
    if (arguments[3][0] != 0) {
        add_key();
    }
    for (char **at = arguments + 5; *at != NULL; at++) {
        struct bytes raw = read_all(*at);
        DWORD error = import(in_folder("made"), 0, &raw);
        if (error != ERROR_NOT_EXPORT_FORMAT) {
            fprintf(stderr, "%s: error %u\n", *at, error);
            exit(EXIT_FAILURE);
        }
        CHECK(files() == 0);
        free(raw.data);
    }
    EfsRawClearKeys();
}

static void key_files_say_why_they_give_no_key(void)
{
    WCHAR file[MAX_UNITS], password[MAX_UNITS];
    struct bytes raw = read_all(arguments[1]);
    to_utf16("/no/such/key.pfx", file);
    IS(EfsRawAddKeyFile(file, NULL), ERROR_FILE_NOT_FOUND);
    to_utf16(arguments[1], file);
    IS(EfsRawAddKeyFile(file, NULL), ERROR_BAD_FORMAT);
    to_utf16(arguments[3], file);
    IS(EfsRawAddKeyFile(file, NULL), ERROR_INVALID_PASSWORD);
    to_utf16("wrong", password);
    IS(EfsRawAddKeyFile(file, password), ERROR_INVALID_PASSWORD);
    /* Without a key only a volume of ntfs-3g takes it. */
    IS(import(in_folder("made"), 0, &raw), ERROR_VOLUME_NOT_SUPPORT_EFS);
    to_utf16(arguments[5], file);
    to_utf16(arguments[4], password);
    IS(EfsRawAddKeyFile(file, password), ERROR_SUCCESS);
    IS(import(in_folder("made"), 0, &raw), ERROR_NO_USER_KEYS);
    CHECK(files() == 0);
    add_key();
    IS(import(in_folder("made"), EFS_DROP_ALTERNATE_STREAMS, &raw), ERROR_SUCCESS);
    CHECK(files() == 1);
    EfsRawClearKeys();
    IS(import(in_folder("made"), 0, &raw), ERROR_VOLUME_NOT_SUPPORT_EFS);
    free(raw.data);
}

/* The sixth argument is a stream with metadata that Rights Management protects. */
static void metadata_of_an_unknown_version_are_named_and_nothing_is_made(void)
{
    struct bytes raw = read_all(arguments[5]);
    add_key();
    IS(import(in_folder("made"), 0, &raw), ERROR_EFS_VERSION_NOT_SUPPORT);
    CHECK(files() == 0);
    EfsRawClearKeys();
    free(raw.data);
}

/* Arguments from the sixth on: a plain file, an image, a directory that is encrypted, a folder on efs_raw. */
static void open_says_what_a_name_is_not(void)
{
    char path[4096];
    PVOID context;
    IS(OpenEncryptedFileRawA(arguments[5], 0, &context), ERROR_FILE_NOT_ENCRYPTED);
    CHECK(context == NULL);
    snprintf(path, sizeof path, "%s.no", arguments[0]);
    IS(OpenEncryptedFileRawA(path, 0, &context), ERROR_FILE_NOT_FOUND);
    snprintf(path, sizeof path, "%s/no/such", arguments[6]);
    IS(OpenEncryptedFileRawA(path, 0, &context), ERROR_PATH_NOT_FOUND);
    snprintf(path, sizeof path, "%s/no", arguments[6]);
    IS(OpenEncryptedFileRawA(path, 0, &context), ERROR_FILE_NOT_FOUND);
    IS(OpenEncryptedFileRawA(arguments[0], CREATE_FOR_DIR, &context), ERROR_DIRECTORY);
    snprintf(path, sizeof path, "%s/no/such", arguments[2]);
    IS(OpenEncryptedFileRawA(path, CREATE_FOR_IMPORT, &context), ERROR_PATH_NOT_FOUND);
    IS(OpenEncryptedFileRawA(arguments[2], CREATE_FOR_IMPORT, &context), ERROR_ACCESS_DENIED);
    /* Flags that are not known are no reason to fail. */
    CloseEncryptedFileRaw(opened_raw(arguments[0], 0x80000000u | EFSRPC_SECURE_ONLY));
}

static void a_directory_is_exported_and_imported_with_its_flag(void)
{
    struct bytes raw = {0};
    PVOID context = opened_raw(arguments[0], CREATE_FOR_DIR);
    IS(ReadEncryptedFileRaw(take, &raw, context), ERROR_SUCCESS);
    CloseEncryptedFileRaw(context);
    raw.piece = 1 << 20;
    IS(import(in_folder("as file"), 0, &raw), ERROR_NOT_EXPORT_FORMAT);
    CHECK(files() == 0);
    IS(import(in_folder("folder"), CREATE_FOR_DIR, &raw), ERROR_SUCCESS);
    CHECK(files() == 1);
    free(raw.data);
    raw = read_all(arguments[1]);
    IS(import(in_folder("other"), CREATE_FOR_DIR, &raw), ERROR_NOT_EXPORT_FORMAT);
    CHECK(files() == 1);
    free(raw.data);
}

/* Arguments from the sixth on: a hidden file, a read-only one, both in the folder. */
static void hidden_and_read_only_files_are_replaced_only_as_windows_does(void)
{
    struct bytes raw = read_all(arguments[1]);
    unsigned there = files();
    IS(import(arguments[6], 0, &raw), ERROR_FILE_READ_ONLY);
    IS(import(arguments[5], 0, &raw), ERROR_ACCESS_DENIED);
    IS(import(arguments[5], OVERWRITE_HIDDEN, &raw), ERROR_SUCCESS);
    CHECK(files() == there);
    free(raw.data);
}

#define THREADS 4

static void *import_many(void *name)
{
    struct bytes raw = read_all(arguments[1]);
    for (int n = 0; n < 20; n++) {
        struct bytes found = {0};
        char path[4200];
        PVOID context = opened_raw(arguments[0], 0);
        IS(ReadEncryptedFileRaw(take, &found, context), ERROR_SUCCESS);
        CloseEncryptedFileRaw(context);
        CHECK(same(&found, &raw));
        free(found.data);
        snprintf(path, sizeof path, "%s/%s", arguments[2], (const char *)name);
        IS(import(path, EFS_DROP_ALTERNATE_STREAMS, &raw), ERROR_SUCCESS);
    }
    free(raw.data);
    return NULL;
}

static void threads_export_and_import_side_by_side(void)
{
    static char names[THREADS][24];
    pthread_t threads[THREADS];
    add_key();
    for (int n = 0; n < THREADS; n++) {
        snprintf(names[n], sizeof names[n], "made%d", n);
        CHECK(pthread_create(&threads[n], NULL, import_many, names[n]) == 0);
    }
    for (int n = 0; n < THREADS; n++) {
        CHECK(pthread_join(threads[n], NULL) == 0);
    }
    CHECK(files() == THREADS);
    EfsRawClearKeys();
}

static void *close_later(void *context)
{
    usleep(20000);
    CloseEncryptedFileRaw(context);
    return NULL;
}

static DWORD WINAPI give_zeros_slowly(PBYTE data, PVOID context, PULONG length)
{
    struct bytes *raw = context;
    if (raw->at < raw->len) {
        return give(data, context, length);
    }
    /* The callback's own memory must be there until closing has returned. */
    usleep(1000);
    CHECK(raw->data != NULL);
    memset(data, 0, *length);
    raw->at = 0;
    return ERROR_SUCCESS;
}

static void closing_in_another_thread_cancels_and_waits(void)
{
    struct bytes raw = read_all(arguments[1]);
    pthread_t closer;
    PVOID context;
    DWORD error;
    add_key();
    raw.len = 2048;
    raw.piece = 1;
    context = opened_raw(in_folder("made"), CREATE_FOR_IMPORT);
    CHECK(pthread_create(&closer, NULL, close_later, context) == 0);
    error = WriteEncryptedFileRaw(give_zeros_slowly, &raw, context);
    CHECK(error == ERROR_CANCELLED || error == ERROR_NOT_EXPORT_FORMAT);
    CHECK(pthread_join(closer, NULL) == 0);
    CHECK(files() == 0);
    IS(WriteEncryptedFileRaw(give, &raw, context), ERROR_INVALID_HANDLE);
    EfsRawClearKeys();
    free(raw.data);
}

int main(int argc, char **argv)
{
    static const struct contract_case cases[] = {
        CASE(export_gives_all_bytes_and_one_empty_piece_by_either_name),
        CASE(a_context_is_for_its_own_direction_and_used_once),
        CASE(what_is_no_context_is_an_invalid_handle),
        CASE(null_pointers_and_empty_names_are_invalid_parameters),
        CASE(an_error_of_the_callback_is_returned_and_nothing_is_made),
        CASE(a_callback_that_gives_more_than_there_is_room_for_is_not_believed),
        CASE(closing_in_a_callback_cancels_and_frees),
        CASE(closing_in_another_thread_cancels_and_waits),
        CASE(a_stream_cut_at_any_byte_is_not_export_format_and_leaves_nothing),
        CASE(a_stream_that_lies_is_not_export_format_and_leaves_nothing),
        CASE(key_files_say_why_they_give_no_key),
        CASE(metadata_of_an_unknown_version_are_named_and_nothing_is_made),
        CASE(open_says_what_a_name_is_not),
        CASE(a_directory_is_exported_and_imported_with_its_flag),
        CASE(hidden_and_read_only_files_are_replaced_only_as_windows_does),
        CASE(threads_export_and_import_side_by_side),
    };
    load_efs();
    return run_case(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
