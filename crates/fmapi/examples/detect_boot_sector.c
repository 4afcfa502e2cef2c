/* Tells what the first sector of a volume says. detect_boot_sector IMAGE */
#include "common.h"

#define BOOT_SECTOR_SIZE 512

int main(int argc, char **argv)
{
    static const char *const names[] = {"unknown", "FAT12", "FAT16", "FAT32", "NTFS"};
    UCHAR sector[BOOT_SECTOR_SIZE];
    BOOT_SECTOR_INFO info;
    FILE *volume;
    size_t got;

    if (argc != 2) {
        fprintf(stderr, "usage: detect_boot_sector IMAGE\n");
        return 2;
    }
    load();
    volume = fopen(argv[1], "rb");
    if (volume == NULL) {
        perror(argv[1]);
        return EXIT_FAILURE;
    }
    got = fread(sector, 1, sizeof sector, volume);
    fclose(volume);
    if (got != sizeof sector) {
        fprintf(stderr, "%s has no whole sector\n", argv[1]);
        return EXIT_FAILURE;
    }
    if (!DetectBootSector(sector, &info)) {
        printf("no boot sector\n");
        return 0;
    }
    printf("file system %s, sector %u, cluster %u, sectors %lld, encrypted %d\n", names[info.FileSystem],
           info.BytePerSector, info.SectorPerCluster, (long long)info.TotalSectors, (int)info.IsEncrypted);
    return 0;
}
