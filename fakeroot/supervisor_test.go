package fakeroot

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestBehaviour runs small scripts and checks what they print.
func TestBehaviour(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"chown", `cd /tmp; echo a >f; chown 33:44 f; stat -c %u:%g f; chown :45 f; stat -c %u:%g f`, "33:44 33:45"},
		{"chown clears setuid", `cd /tmp; echo a >f; chmod 4755 f; chown 33 f; stat -c %a f; chmod u+s f; stat -c %a f`, "755 4755"},
		{"links", `cd /tmp; echo a >f; ln -s f l; chown -h 5:6 l; chown 7:8 l; ln f g; mv f h; stat -c %u:%g l g h`, "5:6 7:8 7:8"},
		{"lower file", `chown 1:2 /etc/hostname; stat -c %u:%g /etc/hostname; stat -c %U:%G /etc/shadow; chmod 600 /etc/shadow; stat -c %U:%G /etc/shadow`, "1:2 root:shadow root:shadow"},
		{"devices", `cd /tmp; mknod c c 1 3; mknod b b 7 8; mknod p p; mv c d; stat -c '%F,%t,%T' d b p`, "character special file,1,3 block special file,7,8 fifo,0,0"},
		{"device where none can be", `mknod /nonexistent/c c 1 3 2>/dev/null || echo refused; mknod /tmp c 1 3 2>/dev/null || echo refused`, "refused refused"},
		{"copies", `cd /tmp; echo a >f; chown 33:44 f; cp -p f g; tar -cf t f; rm f; tar -xpf t; install -o 5 -g 6 g h; stat -c %u:%g f g h`, "33:44 33:44 5:6"},
		{"new inode", `cd /tmp; for i in 1 2 3 4 5 6 7 8 9; do echo >f$i; chown 33 f$i; rm f$i; echo >f$i; stat -c %u f$i; done | sort -u`, "0"},
		{"credentials", `runuser -u www-data -- id -u; su www-data -s /bin/sh -c 'id -u; id -g; id -G; touch /tmp/m; mkdir /tmp/n; ln -s x /tmp/o; mkfifo /tmp/p'; stat -c %u:%g /tmp/m /tmp/n /tmp/o /tmp/p; id -u`,
			"33 33 33 33 33:33 33:33 33:33 33:33 0"},
		{"who is not root", `setpriv --reuid=33 --regid=33 --clear-groups sh -c 'chown 0 /etc/hostname 2>/dev/null || echo refused; mknod /tmp/c c 1 3 2>/dev/null || echo refused; id -G'`, "refused refused 33"},
		{"setuid program", `cp /usr/bin/id /tmp/id; chown 5:6 /tmp/id; chmod 6755 /tmp/id; setpriv --reuid=33 --regid=33 --clear-groups /tmp/id | tr ' ' ,`, "uid=33(www-data),gid=33(www-data),euid=5(games),egid=6(disk),groups=6(disk)"},
		{"accounts", `useradd -m bob; stat -c %U:%G /home/bob /home/bob/.profile /etc/shadow; su - bob -c 'pwd; echo >a; stat -c %U a'`, "bob:bob bob:bob root:shadow /home/bob bob"},
		{"setgid directory", `mkdir /tmp/d; chown 0:8 /tmp/d; chmod g+s /tmp/d; echo >/tmp/d/f; mkdir /tmp/d/e; echo >/tmp/d/e/g; stat -c %g:%a /tmp/d/f /tmp/d/e /tmp/d/e/g; chown 0:0 /tmp/d/f; stat -c %g /tmp/d/f`,
			"8:644 8:2755 8:644 0"},
		{"copied up in a setgid directory", `stat -c %g /usr/local/lib/python3.11 2>/dev/null || stat -c %g:%a /var/mail; stat -c %g /var/local`, ""},
		{"own /proc", `cd /tmp; echo >f; exec 5<f; chown 3:4 /proc/self/fd/5 2>/dev/null; chown 3:4 /dev/fd/5; stat -c %u:%g f; chown 0:0 /dev/stdout`, ""},
		{"host's files", `chown 1:1 /dev/null; stat -c %u:%g /dev/null; chown 0:0 /dev/null; stat -c %u:%g /dev/null`, "1:1 0:0"},
		{"statoverride", `dpkg-statoverride --update --add games mail 2755 /bin/true; stat -c %U:%G:%a /bin/true`, "games:mail:2755"},
		{"scripts", `printf '#!/usr/bin/env stat\n' >/tmp/s; chmod 755 /tmp/s; chown 9:9 /tmp/s; /tmp/s -c %u:%g | head -1`, "9:9"},
		{"sync", `sync; sync /etc/hostname; echo ok`, "ok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := shell(t, c.script, nil)
			if got := strings.Join(lines(o.Output), " "); c.want != "" && got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// TestConsistent: every program sees owners, also one that is not watched.
func TestConsistent(t *testing.T) {
	const script = `cd /tmp; echo a >f; chown 33:44 f; exec 3<f; perl -e '@s=stat("f"); print "$s[4]:$s[5]\n"'`
	for mode, want := range map[Mode]string{ModeSeccomp: "0:0", ModeConsistent: "33:44", ModePlain: "0:0"} {
		o := shell(t, script, func(c *container) { c.Mode = mode })
		if got := strings.TrimSpace(o.Output); got != want {
			t.Errorf("%v: perl sees %s, want %s", mode, got, want)
		}
		if _, ok := o.Table["tmp/f"]; ok != (mode != ModePlain) {
			t.Errorf("%v: recorded: %v", mode, ok)
		}
	}
}

// TestTable: what a RUN leaves in the table, against what was below.
func TestTable(t *testing.T) {
	o := shell(t, `
cd /tmp; echo a >f; chown 33:44 f; mknod n c 1 3; mkdir d; chown 0:8 d; chmod 2775 d; echo >d/f; mkdir d/e; echo >d/e/g
ln f g; chown 0:0 /etc/shadow; rm /etc/gshadow; chmod 600 /etc/passwd`, nil)
	want := Table{
		"tmp/f":   {UID: 33, GID: 44},
		"tmp/g":   {UID: 33, GID: 44},
		"tmp/n":   {Type: 0o020000, Rdev: 0x103},
		"tmp/d":   {GID: 8},
		"tmp/d/f": {GID: 8}, "tmp/d/e": {GID: 8}, "tmp/d/e/g": {GID: 8},
		// These have records below that hold no more.
		"etc/shadow":  {},
		"etc/gshadow": {Gone: true},
	}
	for p, w := range want {
		if got, ok := o.Table[p]; !ok || !got.Equal(w) {
			t.Errorf("%s: got %+v, %v; want %+v", p, got, ok, w)
		}
	}
	for _, p := range o.Table.Paths() {
		if _, ok := want[p]; !ok {
			t.Errorf("%s: unexpected record %+v", p, o.Table[p])
		}
	}
}

// TestUser: a Dockerfile's USER. What it makes is its own, whether a watched
// program makes it or not, and what root makes meanwhile is root's.
func TestUser(t *testing.T) {
	const script = `id -u; id -g; id -G; cd /tmp; echo >f; mkdir d; stat -c %u:%g f d; chown 0 f 2>/dev/null || echo refused
sh -c 'echo >g; mkdir -p h/i; ln -s x l'; cp -p f j; stat -c %u:%g g h/i l j
echo >>/etc/hostname; stat -c %u:%g /etc/hostname /etc/passwd /etc/shadow
mkdir s; chgrp 7 s; chmod 2775 s; sh -c 'mkdir s/t; echo >s/t/u'; stat -c %u:%g s/t
mkdir own; chmod g+s own; sh -c 'echo >own/f'; sh -c 'echo >/var/local/k'; stat -c %u:%g own/f /var/local/k; chgrp 8 own/f
chmod 4755 /usr/bin/setpriv
setpriv --reuid=0 --regid=0 --clear-groups sh -c 'echo >r; mkdir rd; echo >rd/x; echo >h/n; chown 1234 rd/x; touch /etc/issue; cp f own/r'
stat -c %u:%g r rd`
	o := shell(t, script, func(c *container) {
		c.User = Credentials{UID: 1234, GID: 56, Groups: []uint32{7, 8}}
	})
	want := "1234 56 56 7 8 1234:56 1234:56 refused 1234:56 1234:56 1234:56 1234:56 0:0 0:0 0:42 1234:7 1234:56 1234:50 0:0 0:0"
	if got := strings.Join(lines(o.Output), " "); got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
	recorded := Table{
		"tmp/f": {UID: 1234, GID: 56}, "tmp/d": {UID: 1234, GID: 56}, "tmp/g": {UID: 1234, GID: 56}, "tmp/h/i": {UID: 1234, GID: 56},
		"tmp/l": {UID: 1234, GID: 56}, "tmp/s": {UID: 1234, GID: 7}, "tmp/s/t/u": {UID: 1234, GID: 7}, "tmp/own/f": {UID: 1234, GID: 8},
		"tmp/own/r": {GID: 56}, "tmp/r": {}, "tmp/rd": {}, "tmp/rd/x": {UID: 1234}, "tmp/h/n": {}, "etc/issue": {}, "etc/hostname": {},
		"var/local/k": {UID: 1234, GID: 50},
	}
	for p, want := range recorded {
		if got := o.Table[p]; !got.Equal(want) {
			t.Errorf("%s: recorded %+v, want %+v", p, got, want)
		}
	}
}

// TestHostile runs programs that try to confuse the supervisor; see
// programs_test.go. They end, and outside of the container nothing changes.
func TestHostile(t *testing.T) {
	base := debian(t)
	for _, name := range programNames() {
		t.Run(name, func(t *testing.T) {
			for _, user := range []Credentials{{}, {UID: 33, GID: 33}} {
				c := newContainer(t, base.dir, base.table, "self", name)
				c.User = user
				before := listOutside(t, c.Dir)
				o := c.run(t)
				if o.Status != 0 {
					t.Errorf("user %d: status %d\n%s", user.UID, o.Status, tail(o.Output, 2000))
				}
				if after := listOutside(t, c.Dir); !slices.Equal(before, after) {
					t.Errorf("user %d: outside of the container there was\n%q\nand is\n%q", user.UID, before, after)
				}
				t.Logf("user %d: %+v", user.UID, o.Stats)
			}
		})
	}
}

// listOutside lists what is beside the container's own directories.
func listOutside(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	for _, d := range []string{dir, "/", "/dev"} {
		entries, err := os.ReadDir(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			all = append(all, fmt.Sprint(d, " ", e.Name(), " ", e.Type()))
		}
	}
	return all
}
