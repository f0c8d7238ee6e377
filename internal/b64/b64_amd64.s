//go:build !purego

#include "textflag.h"

// Constants are of 16 bytes, the same for both halves of a vector.

// Three bytes a, b, c become b, a, c, b: two words that hold two indices each.
DATA encSpread<>+0(SB)/8, $0x0405030401020001
DATA encSpread<>+8(SB)/8, $0x0a0b090a07080607
GLOBL encSpread<>(SB), RODATA|NOPTR, $16

// The first and third index of each four, and what moves them to the low bits of
// their words: they are the upper half of a product.
DATA encMaskOdd<>+0(SB)/8, $0x0fc0fc000fc0fc00
DATA encMaskOdd<>+8(SB)/8, $0x0fc0fc000fc0fc00
GLOBL encMaskOdd<>(SB), RODATA|NOPTR, $16
DATA encShiftOdd<>+0(SB)/8, $0x0400004004000040
DATA encShiftOdd<>+8(SB)/8, $0x0400004004000040
GLOBL encShiftOdd<>(SB), RODATA|NOPTR, $16

// The second and fourth, which move to the high bits: the lower half.
DATA encMaskEven<>+0(SB)/8, $0x003f03f0003f03f0
DATA encMaskEven<>+8(SB)/8, $0x003f03f0003f03f0
GLOBL encMaskEven<>(SB), RODATA|NOPTR, $16
DATA encShiftEven<>+0(SB)/8, $0x0100001001000010
DATA encShiftEven<>+8(SB)/8, $0x0100001001000010
GLOBL encShiftEven<>(SB), RODATA|NOPTR, $16

// What is added to an index, chosen by how far above 51 it is: 0 for capitals, 1
// for small letters, then digits, plus and slash.
DATA encOffsets<>+0(SB)/8, $0xfcfcfcfcfcfc4741
DATA encOffsets<>+8(SB)/8, $0x0000f0edfcfcfcfc
GLOBL encOffsets<>(SB), RODATA|NOPTR, $16
DATA enc51<>+0(SB)/8, $0x3333333333333333
DATA enc51<>+8(SB)/8, $0x3333333333333333
GLOBL enc51<>(SB), RODATA|NOPTR, $16
DATA enc25<>+0(SB)/8, $0x1919191919191919
DATA enc25<>+8(SB)/8, $0x1919191919191919
GLOBL enc25<>(SB), RODATA|NOPTR, $16

// func encodeBlocks(dst, src *byte, blocks int)
TEXT ·encodeBlocks(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ blocks+16(FP), CX
	VBROADCASTI128 encSpread<>(SB), Y8
	VBROADCASTI128 encMaskOdd<>(SB), Y9
	VBROADCASTI128 encShiftOdd<>(SB), Y10
	VBROADCASTI128 encMaskEven<>(SB), Y11
	VBROADCASTI128 encShiftEven<>(SB), Y12
	VBROADCASTI128 enc51<>(SB), Y13
	VBROADCASTI128 enc25<>(SB), Y14
	VBROADCASTI128 encOffsets<>(SB), Y15

encode:
	VMOVDQU (SI), X0
	VINSERTI128 $1, 12(SI), Y0, Y0
	VPSHUFB Y8, Y0, Y0
	VPAND Y9, Y0, Y1
	VPMULHUW Y10, Y1, Y1
	VPAND Y11, Y0, Y0
	VPMULLW Y12, Y0, Y0
	VPOR Y1, Y0, Y0 // 32 indices
	VPSUBUSB Y13, Y0, Y1
	VPCMPGTB Y14, Y0, Y2
	VPSUBB Y2, Y1, Y1
	VPSHUFB Y1, Y15, Y1
	VPADDB Y1, Y0, Y0
	VMOVDQU Y0, (DI)
	ADDQ $24, SI
	ADDQ $32, DI
	DECQ CX
	JNZ encode
	VZEROUPPER
	RET

// A character is of the alphabet if what its two halves name has no bit in common.
DATA decLow<>+0(SB)/8, $0x1111111111111115
DATA decLow<>+8(SB)/8, $0x1a1b1b1b1a131111
GLOBL decLow<>(SB), RODATA|NOPTR, $16
DATA decHigh<>+0(SB)/8, $0x0804080402011010
DATA decHigh<>+8(SB)/8, $0x1010101010101010
GLOBL decHigh<>(SB), RODATA|NOPTR, $16

// The slash, for it has its half of the alphabet's bits with the plus in common;
// and the mask of the halves, of which the shuffle takes four bits.
DATA decSlash<>+0(SB)/8, $0x2f2f2f2f2f2f2f2f
DATA decSlash<>+8(SB)/8, $0x2f2f2f2f2f2f2f2f
GLOBL decSlash<>(SB), RODATA|NOPTR, $16

// What is added to a character, by its upper half, less one for the slash.
DATA decOffsets<>+0(SB)/8, $0xb9b9bfbf04131000
DATA decOffsets<>+8(SB)/8, $0x0000000000000000
GLOBL decOffsets<>(SB), RODATA|NOPTR, $16

// Four indices become three bytes: neighbours are joined twice, and the bytes
// turned round.
DATA decJoin2<>+0(SB)/8, $0x0140014001400140
DATA decJoin2<>+8(SB)/8, $0x0140014001400140
GLOBL decJoin2<>(SB), RODATA|NOPTR, $16
DATA decJoin4<>+0(SB)/8, $0x0001100000011000
DATA decJoin4<>+8(SB)/8, $0x0001100000011000
GLOBL decJoin4<>(SB), RODATA|NOPTR, $16
DATA decTurn<>+0(SB)/8, $0x090a040506000102
DATA decTurn<>+8(SB)/8, $0xffffffff0c0d0e08
GLOBL decTurn<>(SB), RODATA|NOPTR, $16

// The words of two halves that hold something, side by side.
DATA decSide<>+0(SB)/8, $0x0000000100000000
DATA decSide<>+8(SB)/8, $0x0000000400000002
DATA decSide<>+16(SB)/8, $0x0000000600000005
DATA decSide<>+24(SB)/8, $0x0000000700000007
GLOBL decSide<>(SB), RODATA|NOPTR, $32

// func decodeBlocks(text *byte, blocks int) (done int)
TEXT ·decodeBlocks(SB), NOSPLIT, $0-24
	MOVQ text+0(FP), SI
	MOVQ SI, DI
	MOVQ blocks+8(FP), CX
	XORQ AX, AX
	VBROADCASTI128 decLow<>(SB), Y8
	VBROADCASTI128 decHigh<>(SB), Y9
	VBROADCASTI128 decSlash<>(SB), Y10
	VBROADCASTI128 decOffsets<>(SB), Y11
	VBROADCASTI128 decJoin2<>(SB), Y12
	VBROADCASTI128 decJoin4<>(SB), Y13
	VBROADCASTI128 decTurn<>(SB), Y14
	VMOVDQU decSide<>(SB), Y15

decode:
	VMOVDQU (SI), Y0
	VPSRLD $4, Y0, Y1
	VPAND Y10, Y1, Y1  // upper halves
	VPAND Y10, Y0, Y2  // lower halves
	VPSHUFB Y1, Y9, Y3
	VPSHUFB Y2, Y8, Y2
	VPTEST Y2, Y3
	JNZ decoded
	VPCMPEQB Y10, Y0, Y2
	VPADDB Y1, Y2, Y2
	VPSHUFB Y2, Y11, Y2
	VPADDB Y2, Y0, Y0 // 32 indices
	VPMADDUBSW Y12, Y0, Y0
	VPMADDWD Y13, Y0, Y0
	VPSHUFB Y14, Y0, Y0
	VPERMD Y0, Y15, Y0
	VMOVDQU Y0, (DI) // 8 bytes too many, which have been read
	ADDQ $32, SI
	ADDQ $24, DI
	INCQ AX
	CMPQ AX, CX
	JLT decode

decoded:
	VZEROUPPER
	MOVQ AX, done+16(FP)
	RET
