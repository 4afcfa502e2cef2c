/* Every program in Rust takes its random numbers from this DLL, which Wine has from version 9 on. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE to, SIZE_T len)
{
    while (len > 0) {
        ULONG piece = len > 0x10000000 ? 0x10000000 : (ULONG)len;
        if (!SystemFunction036(to, piece))
            return FALSE;
        to += piece;
        len -= piece;
    }
    return TRUE;
}
