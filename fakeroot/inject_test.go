package fakeroot

import (
	"reflect"
	"testing"
)

func TestParseInjection(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Injection
		fail bool
	}{
		{in: "apt,-o,APT::Sandbox::User=root", want: Injection{"apt", []string{"-o", "APT::Sandbox::User=root"}}},
		{in: `foo,--a=b\,c,d`, want: Injection{"foo", []string{"--a=b,c", "d"}}},
		{in: `foo,`, want: Injection{"foo", []string{""}}},
		{in: `foo,a\b`, want: Injection{"foo", []string{`a\b`}}},
		{in: "foo", fail: true},
		{in: ",a", fail: true},
		{in: "", fail: true},
	} {
		got, err := ParseInjection(c.in)
		if (err != nil) != c.fail || !reflect.DeepEqual(got, c.want) {
			t.Errorf("ParseInjection(%q) = %v, %v; want %v, error %v", c.in, got, err, c.want, c.fail)
		}
	}
}

func TestInjectShell(t *testing.T) {
	in := append(DefaultInjections(), Injection{"x", []string{"a b", "it's"}})
	const o = " -o APT::Sandbox::User=root"
	for _, c := range []struct{ text, want string }{
		{"apt-get update && apt-get install -y gcc", "apt-get" + o + " update && apt-get" + o + " install -y gcc"},
		{"(apt update;apt-get\tupdate)", "(apt" + o + " update;apt-get" + o + "\tupdate)"},
		{"apt-get-wrapper; /usr/bin/apt-cache; apt.conf", "apt-get-wrapper; /usr/bin/apt-cache; apt.conf"},
		{"apt", "apt" + o},
		{"x y", `x 'a b' 'it'\''s' y`},
		{"true\napt-get\\\n update", "true\napt-get\\\n update"},
		{"", ""},
	} {
		got, changed := InjectShell(c.text, in)
		if got != c.want || changed != (c.text != c.want) {
			t.Errorf("InjectShell(%q) = %q, %v; want %q", c.text, got, changed, c.want)
		}
	}
}

func TestInjectExec(t *testing.T) {
	got, changed := InjectExec([]string{"env", "apt-get", "update"}, DefaultInjections())
	want := []string{"env", "apt-get", "-o", "APT::Sandbox::User=root", "update"}
	if !changed || !reflect.DeepEqual(got, want) {
		t.Errorf("InjectExec = %q, %v; want %q", got, changed, want)
	}
	argv := []string{"echo", "apt-get update"}
	if got, changed := InjectExec(argv, DefaultInjections()); changed || !reflect.DeepEqual(got, argv) {
		t.Errorf("InjectExec(%q) = %q, %v; want it unchanged", argv, got, changed)
	}
}

func TestRootlessXattr(t *testing.T) {
	for _, c := range []struct {
		uid, gid uint32
		want     string
	}{{0, 0, ""}, {33, 0, "\x08\x21"}, {0, 42, "\x10\x2a"}, {1000, 65534, "\x08\xe8\x07\x10\xfe\xff\x03"}} {
		b := EncodeRootless(c.uid, c.gid)
		if string(b) != c.want {
			t.Errorf("EncodeRootless(%d, %d) = %q, want %q", c.uid, c.gid, b, c.want)
		}
		uid, gid, err := DecodeRootless(b)
		if uid != c.uid || gid != c.gid || err != nil {
			t.Errorf("DecodeRootless(%q) = %d, %d, %v; want %d, %d", b, uid, gid, err, c.uid, c.gid)
		}
	}
	if uid, _, err := DecodeRootless([]byte("\x08\xff\xff\xff\xff\x0f")); uid != 0 || err != nil {
		t.Errorf("no-operation id: got %d, %v; want 0", uid, err)
	}
	for _, bad := range []string{"\x08", "\x18\x01", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "\x10\xff\xff\xff\xff\x7f"} {
		if _, _, err := DecodeRootless([]byte(bad)); err == nil {
			t.Errorf("DecodeRootless(%q): no error", bad)
		}
	}
}

func TestParseMode(t *testing.T) {
	for m := ModeSeccomp; m <= ModeNone; m++ {
		if got, err := ParseMode(m.String()); got != m || err != nil {
			t.Errorf("ParseMode(%q) = %v, %v", m.String(), got, err)
		}
	}
	if _, err := ParseMode("sudo"); err == nil {
		t.Error(`ParseMode("sudo"): no error`)
	}
}
