//go:build !race

#include "textflag.h"

// func cloneVM(flags, stack uintptr, p *program) (pid, errno uintptr)
TEXT ·cloneVM(SB), NOSPLIT, $0-40
	MOVQ	flags+0(FP), DI
	MOVQ	stack+8(FP), SI
	MOVQ	p+16(FP), R12
	MOVQ	$0, DX
	MOVQ	$0, R10
	MOVQ	$0, R8
	MOVQ	$56, AX // clone
	SYSCALL
	TESTQ	AX, AX
	JEQ	child
	CMPQ	AX, $0xfffffffffffff001
	JLS	parent
	NEGQ	AX
	MOVQ	$0, pid+24(FP)
	MOVQ	AX, errno+32(FP)
	RET

parent:
	MOVQ	AX, pid+24(FP)
	MOVQ	$0, errno+32(FP)
	RET

child:
	// On the new stack, from which there is no way back.
	SUBQ	$16, SP
	MOVQ	R12, 0(SP)
	CALL	·interpret(SB)
	INT	$3
