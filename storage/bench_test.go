package storage

import (
	"context"
	"fmt"
	"testing"
)

// benchStore returns a storage directory with n images of chains of 20 trees
// and as many states.
func benchStore(b *testing.B, n int) *Store {
	b.Helper()
	ctx := context.Background()
	s := newTest(b)
	base := must(addImage(s, "base", "base"))(b)
	chain := base.Chain
	for i := range 19 {
		chain = append(chain, must(addTree(s, NewTreeID(), fmt.Sprint(i)))(b).ID)
	}
	if err := s.Sync(ctx); err != nil {
		b.Fatal(err)
	}
	for i := range n {
		img := *base
		img.Ref, img.Chain = fmt.Sprintf("example.org/team/app%d:v1", i), chain
		if err := s.PutImage(ctx, img); err != nil {
			b.Fatal(err)
		}
		if err := s.PutState(ctx, State{Key: fmt.Sprintf("%08d", i), Chain: chain, Instruction: "RUN make"}); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	return s
}

func BenchmarkOpen(b *testing.B) {
	s := benchStore(b, 1)
	for b.Loop() {
		must(Open(context.Background(), s.Dir(), Options{}))(b).Close()
	}
}

func BenchmarkImages100(b *testing.B) {
	s := benchStore(b, 100)
	for b.Loop() {
		must(s.Images())(b)
	}
}

func BenchmarkLookup(b *testing.B) {
	s := benchStore(b, 100)
	for b.Loop() {
		must(s.Lookup("example.org/team/app7:v1"))(b)
	}
}

func BenchmarkPutImageSame(b *testing.B) {
	s := benchStore(b, 1)
	if err := s.Sync(context.Background()); err != nil {
		b.Fatal(err)
	}
	img := must(s.Lookup("base"))(b)[0]
	for b.Loop() {
		if err := s.PutImage(context.Background(), img); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPutImageDurable(b *testing.B) {
	s := benchStore(b, 1)
	img := must(s.Lookup("base"))(b)[0]
	if err := s.Sync(context.Background()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		img.Size++
		if err := s.PutImage(context.Background(), img); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetState(b *testing.B) {
	s := benchStore(b, 20)
	for b.Loop() {
		st := must(s.GetState("00000007"))(b)
		if err := s.Pin(context.Background(), st.Chain...); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPutState(b *testing.B) {
	s := benchStore(b, 1)
	st := *must(s.GetState("00000000"))(b)
	for b.Loop() {
		if err := s.PutState(context.Background(), st); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCommitTree(b *testing.B) {
	s := newTest(b)
	for b.Loop() {
		must(addTree(s, NewTreeID(), "x"))(b)
	}
}

// BenchmarkSession is what a Store that writes costs besides: the session's
// directory, a pin, and their removal.
func BenchmarkSession(b *testing.B) {
	s := benchStore(b, 1)
	img := must(s.Lookup("base"))(b)[0]
	for b.Loop() {
		one := must(Open(context.Background(), s.Dir(), Options{}))(b)
		if err := one.Pin(context.Background(), img.Chain...); err != nil {
			b.Fatal(err)
		}
		one.Close()
	}
}

func BenchmarkSync(b *testing.B) {
	s := newTest(b)
	for b.Loop() {
		must(addTree(s, NewTreeID(), "x"))(b)
		if err := s.Sync(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCollectNothing(b *testing.B) {
	s := benchStore(b, 100)
	for b.Loop() {
		must(s.Collect(context.Background(), Policy{}))(b)
	}
}
