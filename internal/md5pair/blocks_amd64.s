//go:build !purego

#include "textflag.h"

// Two blocks, of two messages, step by step in turns. A step of MD5 waits for
// the one before it; those of the other message fill the time.
//
// Registers: A, B, C, D of the first message in AX to DX, of the second in R8 to
// R11; its data at SI, the second's at DI.
//
// Source: RFC 1321, section 3.4.

// F = (B AND C) OR (NOT B AND D), as ((C XOR D) AND B) XOR D.
#define FF(a, b, c, d, e, f, g, h, k, s, x) \
	MOVL c, R12          \
	MOVL g, R13          \
	ADDL $k, a           \
	ADDL $k, e           \
	XORL d, R12          \
	XORL h, R13          \
	ADDL (4*x)(SI), a    \
	ADDL (4*x)(DI), e    \
	ANDL b, R12          \
	ANDL f, R13          \
	XORL d, R12          \
	XORL h, R13          \
	ADDL R12, a          \
	ADDL R13, e          \
	ROLL $s, a           \
	ROLL $s, e           \
	ADDL b, a            \
	ADDL f, e

// G = (B AND D) OR (C AND NOT D); the halves have no bit in common, so they are
// added, the one that needs no B early.
#define GG(a, b, c, d, e, f, g, h, k, s, x) \
	MOVL d, R12          \
	MOVL h, R13          \
	ADDL $k, a           \
	ADDL $k, e           \
	NOTL R12             \
	NOTL R13             \
	ADDL (4*x)(SI), a    \
	ADDL (4*x)(DI), e    \
	ANDL c, R12          \
	ANDL g, R13          \
	ADDL R12, a          \
	ADDL R13, e          \
	MOVL d, R12          \
	MOVL h, R13          \
	ANDL b, R12          \
	ANDL f, R13          \
	ADDL R12, a          \
	ADDL R13, e          \
	ROLL $s, a           \
	ROLL $s, e           \
	ADDL b, a            \
	ADDL f, e

// H = B XOR C XOR D.
#define HH(a, b, c, d, e, f, g, h, k, s, x) \
	MOVL c, R12          \
	MOVL g, R13          \
	ADDL $k, a           \
	ADDL $k, e           \
	XORL d, R12          \
	XORL h, R13          \
	ADDL (4*x)(SI), a    \
	ADDL (4*x)(DI), e    \
	XORL b, R12          \
	XORL f, R13          \
	ADDL R12, a          \
	ADDL R13, e          \
	ROLL $s, a           \
	ROLL $s, e           \
	ADDL b, a            \
	ADDL f, e

// I = C XOR (B OR NOT D).
#define II(a, b, c, d, e, f, g, h, k, s, x) \
	MOVL d, R12          \
	MOVL h, R13          \
	ADDL $k, a           \
	ADDL $k, e           \
	NOTL R12             \
	NOTL R13             \
	ADDL (4*x)(SI), a    \
	ADDL (4*x)(DI), e    \
	ORL  b, R12          \
	ORL  f, R13          \
	XORL c, R12          \
	XORL g, R13          \
	ADDL R12, a          \
	ADDL R13, e          \
	ROLL $s, a           \
	ROLL $s, e           \
	ADDL b, a            \
	ADDL f, e

// func blocks(s, t *[4]uint32, p, q *byte, n int)
TEXT ·blocks(SB), NOSPLIT, $32-40
	MOVQ s+0(FP), R14
	MOVQ t+8(FP), R15
	MOVQ p+16(FP), SI
	MOVQ q+24(FP), DI
	MOVL 0(R14), AX
	MOVL 4(R14), BX
	MOVL 8(R14), CX
	MOVL 12(R14), DX
	MOVL 0(R15), R8
	MOVL 4(R15), R9
	MOVL 8(R15), R10
	MOVL 12(R15), R11

loop:
	MOVL AX, 0(SP)
	MOVL BX, 4(SP)
	MOVL CX, 8(SP)
	MOVL DX, 12(SP)
	MOVL R8, 16(SP)
	MOVL R9, 20(SP)
	MOVL R10, 24(SP)
	MOVL R11, 28(SP)

	FF(AX, BX, CX, DX, R8, R9, R10, R11, 0xd76aa478, 7, 0)
	FF(DX, AX, BX, CX, R11, R8, R9, R10, 0xe8c7b756, 12, 1)
	FF(CX, DX, AX, BX, R10, R11, R8, R9, 0x242070db, 17, 2)
	FF(BX, CX, DX, AX, R9, R10, R11, R8, 0xc1bdceee, 22, 3)
	FF(AX, BX, CX, DX, R8, R9, R10, R11, 0xf57c0faf, 7, 4)
	FF(DX, AX, BX, CX, R11, R8, R9, R10, 0x4787c62a, 12, 5)
	FF(CX, DX, AX, BX, R10, R11, R8, R9, 0xa8304613, 17, 6)
	FF(BX, CX, DX, AX, R9, R10, R11, R8, 0xfd469501, 22, 7)
	FF(AX, BX, CX, DX, R8, R9, R10, R11, 0x698098d8, 7, 8)
	FF(DX, AX, BX, CX, R11, R8, R9, R10, 0x8b44f7af, 12, 9)
	FF(CX, DX, AX, BX, R10, R11, R8, R9, 0xffff5bb1, 17, 10)
	FF(BX, CX, DX, AX, R9, R10, R11, R8, 0x895cd7be, 22, 11)
	FF(AX, BX, CX, DX, R8, R9, R10, R11, 0x6b901122, 7, 12)
	FF(DX, AX, BX, CX, R11, R8, R9, R10, 0xfd987193, 12, 13)
	FF(CX, DX, AX, BX, R10, R11, R8, R9, 0xa679438e, 17, 14)
	FF(BX, CX, DX, AX, R9, R10, R11, R8, 0x49b40821, 22, 15)

	GG(AX, BX, CX, DX, R8, R9, R10, R11, 0xf61e2562, 5, 1)
	GG(DX, AX, BX, CX, R11, R8, R9, R10, 0xc040b340, 9, 6)
	GG(CX, DX, AX, BX, R10, R11, R8, R9, 0x265e5a51, 14, 11)
	GG(BX, CX, DX, AX, R9, R10, R11, R8, 0xe9b6c7aa, 20, 0)
	GG(AX, BX, CX, DX, R8, R9, R10, R11, 0xd62f105d, 5, 5)
	GG(DX, AX, BX, CX, R11, R8, R9, R10, 0x02441453, 9, 10)
	GG(CX, DX, AX, BX, R10, R11, R8, R9, 0xd8a1e681, 14, 15)
	GG(BX, CX, DX, AX, R9, R10, R11, R8, 0xe7d3fbc8, 20, 4)
	GG(AX, BX, CX, DX, R8, R9, R10, R11, 0x21e1cde6, 5, 9)
	GG(DX, AX, BX, CX, R11, R8, R9, R10, 0xc33707d6, 9, 14)
	GG(CX, DX, AX, BX, R10, R11, R8, R9, 0xf4d50d87, 14, 3)
	GG(BX, CX, DX, AX, R9, R10, R11, R8, 0x455a14ed, 20, 8)
	GG(AX, BX, CX, DX, R8, R9, R10, R11, 0xa9e3e905, 5, 13)
	GG(DX, AX, BX, CX, R11, R8, R9, R10, 0xfcefa3f8, 9, 2)
	GG(CX, DX, AX, BX, R10, R11, R8, R9, 0x676f02d9, 14, 7)
	GG(BX, CX, DX, AX, R9, R10, R11, R8, 0x8d2a4c8a, 20, 12)

	HH(AX, BX, CX, DX, R8, R9, R10, R11, 0xfffa3942, 4, 5)
	HH(DX, AX, BX, CX, R11, R8, R9, R10, 0x8771f681, 11, 8)
	HH(CX, DX, AX, BX, R10, R11, R8, R9, 0x6d9d6122, 16, 11)
	HH(BX, CX, DX, AX, R9, R10, R11, R8, 0xfde5380c, 23, 14)
	HH(AX, BX, CX, DX, R8, R9, R10, R11, 0xa4beea44, 4, 1)
	HH(DX, AX, BX, CX, R11, R8, R9, R10, 0x4bdecfa9, 11, 4)
	HH(CX, DX, AX, BX, R10, R11, R8, R9, 0xf6bb4b60, 16, 7)
	HH(BX, CX, DX, AX, R9, R10, R11, R8, 0xbebfbc70, 23, 10)
	HH(AX, BX, CX, DX, R8, R9, R10, R11, 0x289b7ec6, 4, 13)
	HH(DX, AX, BX, CX, R11, R8, R9, R10, 0xeaa127fa, 11, 0)
	HH(CX, DX, AX, BX, R10, R11, R8, R9, 0xd4ef3085, 16, 3)
	HH(BX, CX, DX, AX, R9, R10, R11, R8, 0x04881d05, 23, 6)
	HH(AX, BX, CX, DX, R8, R9, R10, R11, 0xd9d4d039, 4, 9)
	HH(DX, AX, BX, CX, R11, R8, R9, R10, 0xe6db99e5, 11, 12)
	HH(CX, DX, AX, BX, R10, R11, R8, R9, 0x1fa27cf8, 16, 15)
	HH(BX, CX, DX, AX, R9, R10, R11, R8, 0xc4ac5665, 23, 2)

	II(AX, BX, CX, DX, R8, R9, R10, R11, 0xf4292244, 6, 0)
	II(DX, AX, BX, CX, R11, R8, R9, R10, 0x432aff97, 10, 7)
	II(CX, DX, AX, BX, R10, R11, R8, R9, 0xab9423a7, 15, 14)
	II(BX, CX, DX, AX, R9, R10, R11, R8, 0xfc93a039, 21, 5)
	II(AX, BX, CX, DX, R8, R9, R10, R11, 0x655b59c3, 6, 12)
	II(DX, AX, BX, CX, R11, R8, R9, R10, 0x8f0ccc92, 10, 3)
	II(CX, DX, AX, BX, R10, R11, R8, R9, 0xffeff47d, 15, 10)
	II(BX, CX, DX, AX, R9, R10, R11, R8, 0x85845dd1, 21, 1)
	II(AX, BX, CX, DX, R8, R9, R10, R11, 0x6fa87e4f, 6, 8)
	II(DX, AX, BX, CX, R11, R8, R9, R10, 0xfe2ce6e0, 10, 15)
	II(CX, DX, AX, BX, R10, R11, R8, R9, 0xa3014314, 15, 6)
	II(BX, CX, DX, AX, R9, R10, R11, R8, 0x4e0811a1, 21, 13)
	II(AX, BX, CX, DX, R8, R9, R10, R11, 0xf7537e82, 6, 4)
	II(DX, AX, BX, CX, R11, R8, R9, R10, 0xbd3af235, 10, 11)
	II(CX, DX, AX, BX, R10, R11, R8, R9, 0x2ad7d2bb, 15, 2)
	II(BX, CX, DX, AX, R9, R10, R11, R8, 0xeb86d391, 21, 9)

	ADDL 0(SP), AX
	ADDL 4(SP), BX
	ADDL 8(SP), CX
	ADDL 12(SP), DX
	ADDL 16(SP), R8
	ADDL 20(SP), R9
	ADDL 24(SP), R10
	ADDL 28(SP), R11
	ADDQ $64, SI
	ADDQ $64, DI
	SUBQ $1, n+32(FP)
	JNE  loop

	MOVL AX, 0(R14)
	MOVL BX, 4(R14)
	MOVL CX, 8(R14)
	MOVL DX, 12(R14)
	MOVL R8, 0(R15)
	MOVL R9, 4(R15)
	MOVL R10, 8(R15)
	MOVL R11, 12(R15)
	RET
