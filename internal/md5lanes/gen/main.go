// Command gen writes blocks_amd64.s: the steps of MD5 for two messages in turns,
// and for four in the lanes of vectors.
package main

import (
	"bytes"
	"fmt"
	"log"
	"math"
	"os"
)

// Source of all numbers: RFC 1321, section 3.4.

// shifts of the steps of a round, which repeat every four.
var shifts = [4][4]int{{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}}

// constant returns the number that step i adds.
func constant(i int) uint32 { return uint32(math.Floor(math.Abs(math.Sin(float64(i+1))) * (1 << 32))) }

// word returns which word of the block step i adds.
func word(i int) int {
	switch i / 16 {
	case 0:
		return i
	case 1:
		return (5*i + 1) % 16
	case 2:
		return (3*i + 5) % 16
	}
	return 7 * i % 16
}

// roles returns which of the four registers are a, b, c and d in step i.
func roles(i int) (a, b, c, d int) {
	return (4 - i%4) % 4, (5 - i%4) % 4, (6 - i%4) % 4, (7 - i%4) % 4
}

// asm collects lines.
type asm struct{ bytes.Buffer }

func (w *asm) line(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) } // a Buffer takes all

func (w *asm) op(format string, args ...any) { w.line("\t"+format, args...) }

// scalar is a message of the pair: its four registers, one for f, and where its
// data is.
type scalar struct {
	regs [4]string
	f    string
	data string
}

// pairStep writes step i for both, instruction by instruction in turns, as each
// has to wait for its last.
func (w *asm) pairStep(i int, both [2]scalar) {
	ia, ib, ic, id := roles(i)
	each := func(format string, args func(s *scalar, a, b, c, d string) []any) {
		for j := range both {
			s := &both[j]
			w.op(format, args(s, s.regs[ia], s.regs[ib], s.regs[ic], s.regs[id])...)
		}
	}
	add := func() {
		each("ADDL $%#08x, %s", func(_ *scalar, a, _, _, _ string) []any { return []any{constant(i), a} })
		each("ADDL %d(%s), %s", func(s *scalar, a, _, _, _ string) []any { return []any{4 * word(i), s.data, a} })
	}
	cf := func(s *scalar, _, _, c, _ string) []any { return []any{c, s.f} }
	bf := func(s *scalar, _, b, _, _ string) []any { return []any{b, s.f} }
	df := func(s *scalar, _, _, _, d string) []any { return []any{d, s.f} }
	f := func(s *scalar, _, _, _, _ string) []any { return []any{s.f} }
	fa := func(s *scalar, a, _, _, _ string) []any { return []any{s.f, a} }
	switch i / 16 {
	case 0: // ((c ^ d) & b) ^ d
		each("MOVL %s, %s", cf)
		add()
		each("XORL %s, %s", df)
		each("ANDL %s, %s", bf)
		each("XORL %s, %s", df)
		each("ADDL %s, %s", fa)
	case 1: // (c & ^d) + (d & b): they have no bit in common
		each("MOVL %s, %s", df)
		add()
		each("NOTL %s", f)
		each("ANDL %s, %s", cf)
		each("ADDL %s, %s", fa)
		each("MOVL %s, %s", df)
		each("ANDL %s, %s", bf)
		each("ADDL %s, %s", fa)
	case 2: // c ^ d ^ b
		each("MOVL %s, %s", cf)
		add()
		each("XORL %s, %s", df)
		each("XORL %s, %s", bf)
		each("ADDL %s, %s", fa)
	case 3: // (^d | b) ^ c
		each("MOVL %s, %s", df)
		add()
		each("NOTL %s", f)
		each("ORL %s, %s", bf)
		each("XORL %s, %s", cf)
		each("ADDL %s, %s", fa)
	}
	each("ROLL $%d, %s", func(_ *scalar, a, _, _, _ string) []any { return []any{shifts[i/16][i%4], a} })
	each("ADDL %s, %s", func(_ *scalar, a, b, _, _ string) []any { return []any{b, a} })
}

func (w *asm) pair() {
	both := [2]scalar{
		{regs: [4]string{"AX", "BX", "CX", "DX"}, f: "R12", data: "SI"},
		{regs: [4]string{"R8", "R9", "R10", "R11"}, f: "R13", data: "DI"},
	}
	states := [2]string{"R14", "R15"}
	w.line("// func blocks2(s, t *[4]uint32, p, q *byte, n int)")
	w.line("TEXT ·blocks2(SB), NOSPLIT, $32-40")
	w.op("MOVQ s+0(FP), R14")
	w.op("MOVQ t+8(FP), R15")
	w.op("MOVQ p+16(FP), SI")
	w.op("MOVQ q+24(FP), DI")
	each := func(fn func(j, r int, reg string)) {
		for j, s := range both {
			for r, reg := range s.regs {
				fn(j, r, reg)
			}
		}
	}
	each(func(j, r int, reg string) { w.op("MOVL %d(%s), %s", 4*r, states[j], reg) })
	w.line("\nloop:")
	each(func(j, r int, reg string) { w.op("MOVL %s, %d(SP)", reg, 16*j+4*r) })
	for i := range 64 {
		w.line("\n\t// step %d", i)
		w.pairStep(i, both)
	}
	w.line("")
	each(func(j, r int, reg string) { w.op("ADDL %d(SP), %s", 16*j+4*r, reg) })
	w.op("ADDQ $64, SI")
	w.op("ADDQ $64, DI")
	w.op("SUBQ $1, n+32(FP)")
	w.op("JNE  loop")
	w.line("")
	each(func(j, r int, reg string) { w.op("MOVL %s, %d(%s)", reg, 4*r, states[j]) })
	w.op("RET")
}

// vectorStep writes step i for four messages: a lane of each register is one.
// X4 is f, X5 the word and the constant, X6 all ones, X7 half of the rotation.
func (w *asm) vectorStep(i int) {
	ia, ib, ic, id := roles(i)
	a, b, c, d := fmt.Sprintf("X%d", ia), fmt.Sprintf("X%d", ib), fmt.Sprintf("X%d", ic), fmt.Sprintf("X%d", id)
	w.op("MOVOU constants<>+%d(SB), X5", 16*i)
	w.op("MOVOU %d(SP), X7", 64+16*word(i))
	w.op("PADDL X5, %s", a)
	w.op("PADDL X7, %s", a)
	switch i / 16 {
	case 0:
		w.op("MOVO %s, X4", c)
		w.op("PXOR %s, X4", d)
		w.op("PAND %s, X4", b)
		w.op("PXOR %s, X4", d)
	case 1:
		w.op("MOVO %s, X4", d)
		w.op("PANDN %s, X4", c)
		w.op("PADDL X4, %s", a)
		w.op("MOVO %s, X4", d)
		w.op("PAND %s, X4", b)
	case 2:
		w.op("MOVO %s, X4", c)
		w.op("PXOR %s, X4", d)
		w.op("PXOR %s, X4", b)
	case 3:
		w.op("MOVO %s, X4", d)
		w.op("PXOR X6, X4")
		w.op("POR %s, X4", b)
		w.op("PXOR %s, X4", c)
	}
	s := shifts[i/16][i%4]
	w.op("PADDL X4, %s", a)
	w.op("MOVO %s, X7", a)
	w.op("PSLLL $%d, %s", s, a)
	w.op("PSRLL $%d, X7", 32-s)
	w.op("POR X7, %s", a)
	w.op("PADDL %s, %s", b, a)
}

func (w *asm) four() {
	data := [4]string{"SI", "DI", "R8", "R9"}
	for i := range 64 {
		for j := range 2 {
			w.line("DATA constants<>+%d(SB)/8, $%#016x", 16*i+8*j, uint64(constant(i))<<32|uint64(constant(i)))
		}
	}
	w.line("GLOBL constants<>(SB), RODATA|NOPTR, $1024\n")
	w.line("// func blocks4(s *[4][4]uint32, p *[4]*byte, n int)")
	w.line("TEXT ·blocks4(SB), NOSPLIT, $320-24")
	w.op("MOVQ s+0(FP), R10")
	w.op("MOVQ p+8(FP), AX")
	w.op("MOVQ n+16(FP), CX")
	for j, reg := range data {
		w.op("MOVQ %d(AX), %s", 8*j, reg)
	}
	for r := range 4 {
		w.op("MOVOU %d(R10), X%d", 16*r, r)
	}
	w.op("PCMPEQL X6, X6")
	w.line("\nloop:")
	for r := range 4 {
		w.op("MOVOU X%d, %d(SP)", r, 16*r)
	}
	// Four words of each message become four vectors of a word of each.
	for q := range 4 {
		w.line("\n\t// words %d to %d", 4*q, 4*q+3)
		for j, reg := range data {
			w.op("MOVOU %d(%s), X%d", 16*q, reg, 8+j)
		}
		w.op("MOVO X8, X12")
		w.op("PUNPCKLLQ X9, X12")
		w.op("PUNPCKHLQ X9, X8")
		w.op("MOVO X10, X13")
		w.op("PUNPCKLLQ X11, X13")
		w.op("PUNPCKHLQ X11, X10")
		w.op("MOVO X12, X14")
		w.op("PUNPCKLQDQ X13, X12")
		w.op("PUNPCKHQDQ X13, X14")
		w.op("MOVO X8, X15")
		w.op("PUNPCKLQDQ X10, X8")
		w.op("PUNPCKHQDQ X10, X15")
		for j, reg := range []string{"X12", "X14", "X8", "X15"} {
			w.op("MOVOU %s, %d(SP)", reg, 64+16*(4*q+j))
		}
	}
	for i := range 64 {
		w.line("\n\t// step %d", i)
		w.vectorStep(i)
	}
	w.line("")
	for r := range 4 {
		w.op("MOVOU %d(SP), X4", 16*r)
		w.op("PADDL X4, X%d", r)
	}
	for _, reg := range data {
		w.op("ADDQ $64, %s", reg)
	}
	w.op("SUBQ $1, CX")
	w.op("JNE  loop")
	w.line("")
	for r := range 4 {
		w.op("MOVOU X%d, %d(R10)", r, 16*r)
	}
	w.op("RET")
}

func generate() []byte {
	var w asm
	w.line("// Code generated by ./gen; DO NOT EDIT.\n")
	w.line("//go:build !purego\n")
	w.line("#include \"textflag.h\"\n")
	w.pair()
	w.line("")
	w.four()
	return w.Bytes()
}

func main() {
	if err := os.WriteFile("blocks_amd64.s", generate(), 0o644); err != nil {
		log.Fatal(err)
	}
}
