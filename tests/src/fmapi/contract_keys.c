/* Encrypted volumes. */
#include "contract.h"

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

static const struct contract_case CASES[] = {
    CASE(detect_encrypted_volume_of_a_plain_one_tells_so),
    CASE(in_version_2_what_is_obsolete_is_not_supported),
    CASE(in_version_2_the_extension_is_a_flag_or_the_environment),
    CASE(a_locked_volume_is_created_and_scanned_only_with_a_key),
    CASE(keys_after_the_first_scan_are_too_late),
    CASE(a_key_package_stands_for_lost_metadata),
};

int main(int argc, char **argv)
{
    return run_case(argc, argv, CASES, sizeof CASES / sizeof *CASES);
}
