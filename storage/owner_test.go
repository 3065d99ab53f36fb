package storage

import (
	"context"
	"os"
	"testing"
	"time"
)

func TestOwnerReadsBack(t *testing.T) {
	me := self()
	got, ok := parseOwner(me.String() + "-0badcafe")
	if !ok || got != me {
		t.Errorf("got %+v, %v, want %+v", got, ok, me)
	}
	if me.start == 0 || me.pidns == 0 {
		t.Errorf("not identified: %+v", me)
	}
	for _, bad := range []string{"", "x", "host-1-2-aa-bb-3", "h-x-2-aa-bb-3-r", "h-0-2-aa-bb-3-r", "a-b-1-2-aa-bb-3-r"} {
		if _, ok := parseOwner(bad); ok {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestOwnerDead(t *testing.T) {
	me := self()
	gone := me
	cmd := child(t, "create", t.TempDir()+"/s")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	gone.pid = cmd.Process.Pid
	edit := func(f func(*owner)) owner { o := me; f(&o); return o }
	tests := []struct {
		name string
		o    owner
		age  time.Duration
		want bool
	}{
		{"itself", me, 1000 * time.Hour, false},
		{"ended", gone, 0, true},
		{"pid used again", edit(func(o *owner) { o.start-- }), 0, true},
		{"start time not known", edit(func(o *owner) { o.start = 0 }), 0, false},
		{"earlier boot", edit(func(o *owner) { o.boot = "00000000" }), 0, true},
		{"other machine, lately", edit(func(o *owner) { o.machine = "00000000" }), foreignAge - time.Hour, false},
		{"other machine, long ago", edit(func(o *owner) { o.machine = "00000000" }), foreignAge + time.Hour, true},
		{"other machine and boot", edit(func(o *owner) { o.machine, o.boot = "00000000", "00000000" }), 0, false},
		{"other container, lately", edit(func(o *owner) { o.pidns++; o.pid = gone.pid }), time.Hour, false},
		{"other container, long ago", edit(func(o *owner) { o.pidns++ }), foreignAge + time.Hour, true},
	}
	for _, test := range tests {
		if got := test.o.dead(me, test.age); got != test.want {
			t.Errorf("%s: dead = %v, want %v", test.name, got, test.want)
		}
	}
}

// workRole leaves work in progress, with what overlay leaves, and is killed.
func workRole(args []string) error {
	s, err := Open(context.Background(), args[0], Options{})
	if err != nil {
		return err
	}
	w, err := s.NewWork(context.Background())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(w.Path()+"/work/work", 0o700); err != nil {
		return err
	}
	if err := os.Chmod(w.Path()+"/work/work", 0); err != nil {
		return err
	}
	if _, err := addTree(s, BaseID(nil, "left"), "x"); err != nil {
		return err
	}
	os.Stdout.WriteString("ready\n")
	select {}
}

func TestSweep(t *testing.T) {
	s := newTest(t)
	if _, err := s.NewWork(context.Background()); err != nil { // alive
		t.Fatal(err)
	}
	mine := inTmp(t, s)
	cmd := child(t, "work", s.Dir())
	startUntil(t, cmd, "ready")
	other := openTest(t, s.Dir())
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if inTmp(t, s) == mine {
		t.Fatal("a live process's work was removed")
	}
	cmd.Process.Kill()
	// Not reaped yet: a zombie is dead.
	for range 100 {
		if _, zombie, _ := procStat(cmd.Process.Pid); zombie {
			break
		}
		time.Sleep(time.Millisecond)
	}
	other = openTest(t, s.Dir())
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if got := inTmp(t, s); got != mine {
		t.Errorf("left in tmp: %s, want %s", got, mine)
	}
	checkClean(t, s)
}
