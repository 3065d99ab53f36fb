package fakeroot

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestProbe: the level is explained, and falls with the limits it needs.
func TestProbe(t *testing.T) {
	level, why := Probe()
	if (why == "") != (level == LevelFaithful) {
		t.Errorf("level %v is explained by %q", level, why)
	}
	t.Logf("level %v: %s", level, why)
	if selfTest() {
		t.Error("a filter is active that nobody installed")
	}
}

// selfTest makes the call of SelfTest.
func selfTest() bool {
	nr, a, ok := SelfTest()
	_, _, errno := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	return ok && errno == 0
}

// TestLevels: without the layout tag owners are recorded, and no program but
// those under --force=consistent is told.
func TestLevels(t *testing.T) {
	const script = `cd /tmp; echo a >f; chown 33:44 f; stat -c %u:%g f; su www-data -s /bin/sh -c 'id -u'`
	for level, want := range map[Level]string{LevelPlain: "0:0\n0\n", LevelRecorded: "0:0\n33\n", LevelFaithful: "33:44\n33\n"} {
		o := shell(t, script, func(c *container) { c.Level = level })
		if o.Output != want {
			t.Errorf("%v: got %q, want %q", level, o.Output, want)
		}
		if got := o.Table["tmp/f"]; (got.UID == 33 && got.GID == 44) != (level >= LevelRecorded) {
			t.Errorf("%v: recorded %+v", level, got)
		}
	}
}

// TestMeasureTop: the stack of this process is below the top, and an unwatched
// program's libraries, just below the stack, are above the border.
func TestMeasureTop(t *testing.T) {
	a := nativeArch()
	if a == noArch || !arches[a].wide {
		t.Skip("32-bit address spaces have one size")
	}
	top := measureTop(1)
	if top < 1<<38 || top&(top-1) != 0 {
		t.Errorf("top %#x", top)
	}
	if watchedBelow(top) <= top/2 || watchedBelow(top) >= top/8*7 {
		t.Errorf("border %#x of %#x", watchedBelow(top), top)
	}
	if below := top - makingStack(top); below >= makingBelow(top) || below-top/128 < watchedBelow(top) || makingBelow(top) >= top/8*7 {
		t.Errorf("libraries below %#x, borders %#x and %#x", below, watchedBelow(top), makingBelow(top))
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(rlimitMarker, &l); err != nil {
		t.Errorf("the limit that credentials are kept in: %v", err)
	}
}
