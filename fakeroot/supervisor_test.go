package fakeroot

import (
	"testing"
)

func programStage() {}

func TestChown(t *testing.T) {
	o := shell(t, `
cd /tmp; echo a >f; chown 33:44 f; stat -c %u:%g f; ls -ln f
chmod u+s f; chown 34 f; stat -c %u:%g:%a f
ln -s f l; chown -h 5:6 l; stat -c %u:%g l
mknod n c 1 3; stat -c '%F %t:%T' n; test -c n && echo chr
id -u; su www-data -s /bin/sh -c 'id; touch /tmp/mine; mkdir /tmp/dir; ln -s x /tmp/sl; stat -c %U:%G /tmp/mine /tmp/dir /tmp/sl'
stat -c %u:%g /etc/shadow
`, nil)
	t.Log(o.Output)
	for _, p := range o.Table.Paths() {
		t.Logf("%s %+v", p, o.Table[p])
	}
}
