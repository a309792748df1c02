/* isa: asks the processor what it has. */
#include "kernels/cpu/isa.h"

#include <stddef.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

const char *isa_name(enum backend_isa isa)
{
    static const char *const names[] = {"auto", "amx", "avx512_vnni", "avx512", "avx2", "portable"};
    return names[isa];
}

#if defined(__x86_64__)
static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

static bool has_avx512_vnni(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* The system keeps the tile registers of its threads: bits 17 and 18 of XCR0. */
static bool system_keeps_tiles(void)
{
    unsigned low = 0;
    unsigned high = 0;
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & (1u << 27)) == 0) { // no XGETBV
        return false;
    }
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low >> 17 & 3u) == 3u;
}

/* AMX-TILE, and what else leaf 7's edx tells in `bit`. */
static bool has_tiles_with(unsigned bit)
{
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & (1u << bit)) != 0 &&
           (d & (1u << 24)) != 0 && system_keeps_tiles();
}

bool isa_has_amx_bf16(void)
{
    return has_tiles_with(22);
}

bool isa_has_amx_int8(void)
{
    return has_tiles_with(25);
}
#else
static bool has_avx512(void)
{
    return false;
}

static bool has_avx512_vnni(void)
{
    return false;
}

static bool has_avx2(void)
{
    return false;
}

bool isa_has_amx_bf16(void)
{
    return false;
}

bool isa_has_amx_int8(void)
{
    return false;
}
#endif

/* Own kernels take what tiles do not. */
static bool has_amx(void)
{
    return has_avx512_vnni() && (isa_has_amx_bf16() || isa_has_amx_int8());
}

bool isa_choose(enum backend_isa *isa)
{
    switch (*isa) {
    case ISA_AUTO:
        *isa = has_amx()           ? ISA_AMX
               : has_avx512_vnni() ? ISA_AVX512_VNNI
               : has_avx512()      ? ISA_AVX512
               : has_avx2()        ? ISA_AVX2
                                   : ISA_PORTABLE;
        return true;
    case ISA_AMX:
        return has_amx();
    case ISA_AVX512_VNNI:
        return has_avx512_vnni();
    case ISA_AVX512:
        return has_avx512();
    case ISA_AVX2:
        return has_avx2();
    case ISA_PORTABLE:
        return true;
    }
    return false;
}

const struct cpu_kernels *isa_kernels(enum backend_isa isa)
{
#if defined(__x86_64__)
    if (isa == ISA_AMX || isa == ISA_AVX512_VNNI) {
        return &cpu_kernels_avx512_vnni;
    }
    if (isa == ISA_AVX512) {
        return &cpu_kernels_avx512;
    }
    if (isa == ISA_AVX2) {
        return &cpu_kernels_avx2;
    }
#endif
    return isa == ISA_PORTABLE ? &cpu_kernels_portable : NULL;
}
