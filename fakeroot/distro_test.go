package fakeroot

import (
	"io/fs"
	"os/exec"
	"reflect"
	"testing"
	"testing/fstest"
)

func TestDetect(t *testing.T) {
	for _, c := range []struct{ file, text, want string }{
		{"etc/fedora-release", "Fedora release 40 (Forty)\n", "fedora"},
		{"etc/fedora-release", "Fedora release 24 (Twenty Four)\n", "fedora"},
		{"etc/fedora-release", "Fedora release 23 (Twenty Three)\n", ""},
		{"etc/fedora-release", "Fedora release 9 (Sulphur)\n", ""},
		{"etc/redhat-release", "CentOS Linux release 7.9.2009 (Core)\n", "rhel7"},
		{"etc/redhat-release", "Red Hat Enterprise Linux release 8.10 (Ootpa)\n", "rhel8"},
		{"etc/redhat-release", "AlmaLinux release 9.4 (Seafoam Ocelot)\n", "rhel8"},
		{"etc/redhat-release", "CentOS Stream release 10 (Coughlan)\n", "rhel8"},
		{"etc/redhat-release", "CentOS release 6.10 (Final)\n", ""},
		{"etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n", "debian"},
		{"etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 9 (stretch)\"\n", "debian"},
		{"etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 8 (jessie)\"\nID=debian\n", ""},
		{"etc/os-release", "PRETTY_NAME=\"Ubuntu 24.04 LTS\"\n", "debian"},
		{"etc/os-release", "PRETTY_NAME=\"Ubuntu 12.04 LTS\"\n", ""},
		{"etc/os-release", "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "debian"},
		{"etc/os-release", "ID=kali\nID_LIKE=debian\n", "debian"},
		{"etc/os-release", "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", "suse"},
		{"etc/os-release", "ID=arch\n", "arch"},
		{"etc/os-release", "ID=archlike\n", ""},
		{"etc/alpine-release", "3.20.1\n", "alpine"},
		{"etc/alpine-release", "edge\n", ""},
		{"etc/adelie-release", "1.0\n", "adelie"},
		{"etc/other-release", "1.0\n", ""},
	} {
		d, ok := Detect(fstest.MapFS{c.file: {Data: []byte(c.text)}})
		if d.Name != c.want || ok != (c.want != "") {
			t.Errorf("%s %q: got %q, %v; want %q", c.file, c.text, d.Name, ok, c.want)
		}
	}
	if _, ok := Detect(fstest.MapFS{"etc/os-release": {Mode: fs.ModeDir}}); ok {
		t.Error("a directory instead of os-release is a distribution")
	}
}

// TestSteps: every distribution is wrapped, and a shell understands its steps.
func TestSteps(t *testing.T) {
	for _, k := range known() {
		if len(k.Words) == 0 || len(k.Steps) == 0 {
			t.Errorf("%s: no words or no steps", k.Name)
		}
		for _, s := range k.Steps {
			for _, text := range []string{s.Check, s.Command} {
				if out, err := exec.Command("sh", "-n", "-c", text).CombinedOutput(); err != nil {
					t.Errorf("%s: %s: %q: %v\n%s", k.Name, s.Name, text, err, out)
				}
			}
		}
		if !k.Wanted([]string{"/bin/sh", "-c", "true && " + k.Words[0] + " x"}) || !k.Wanted([]string{k.Words[0], "x"}) {
			t.Errorf("%s: %q does not want fakeroot", k.Name, k.Words[0])
		}
		if k.Wanted([]string{"/bin/sh", "-c", "echo not-" + k.Words[0]}) {
			t.Errorf("%s: part of a word wants fakeroot", k.Name)
		}
	}
	args, env := Distribution{}.Wrap([]string{"/bin/sh", "-c", "x"}, []string{"A=b"})
	if want := []string{"fakeroot", "/bin/sh", "-c", "x"}; !reflect.DeepEqual(args, want) {
		t.Errorf("Wrap = %q, want %q", args, want)
	}
	if want := []string{"A=b", "FAKEROOTDONTTRYCHOWN=1"}; !reflect.DeepEqual(env, want) {
		t.Errorf("Wrap: environment %q, want %q", env, want)
	}
}
