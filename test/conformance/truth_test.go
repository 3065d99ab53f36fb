package conformance

import (
	"context"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// truthFile installs what is known to be hard for whoever is not root: users of
// their own, setuid and setgid programs, file capabilities, access lists,
// a database made by its own user, keys that only their owner may read. An RPM
// has other users' files and capabilities; no device: rpm opens what it makes.
const truthFile = `ARG BASE
FROM $BASE
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get -q update && apt-get -qy install --no-install-recommends \
    openssh-server postgresql systemd dbus man-db cron exim4-daemon-light munge slurmd mariadb-server redis-server nginx \
    sudo screen tcpdump iputils-ping polkitd sssd-common tomcat10 avahi-daemon rpm dnf acl libcap2-bin
COPY odd.spec /root/
RUN rpmbuild -bb /root/odd.spec && rpm -i --nodeps /root/rpmbuild/RPMS/noarch/odd-1-1.noarch.rpm && rpm -V --nodeps odd
RUN rpm -e --nodeps odd && dnf -q -y --disablerepo='*' install /root/rpmbuild/RPMS/noarch/odd-1-1.noarch.rpm && rpm -V --nodeps odd
RUN mkdir -m 2770 /srv/acl && chgrp mail /srv/acl && setfacl -m u:redis:rwx,g:www-data:r-x /srv/acl && setfacl -d -m u::rwx,g::r-x,o::- /srv/acl && \
    echo >/srv/acl/f && setfacl -m u:0:rw /srv/acl/f && cp -a /srv/acl /srv/copy && tar -C /srv --acls -cpf /srv/acl.tar acl && \
    mkdir /srv/tar && tar -C /srv/tar --acls -xpf /srv/acl.tar && rm /srv/acl.tar
USER postgres
RUN echo >/tmp/mine && mkdir -m 700 /tmp/data && /usr/lib/postgresql/15/bin/initdb -D /tmp/data >/dev/null
`

const truthSpec = `Name: odd
Version: 1
Release: 1
Summary: Files that are hard to make
License: none
BuildArch: noarch
AutoReqProv: no
%description
Files that are hard to make.
%install
mkdir -p %{buildroot}/opt/odd/dir
for f in plain suid sgid caps; do echo $f >%{buildroot}/opt/odd/$f; done
ln -s plain %{buildroot}/opt/odd/link
%files
%attr(0640,redis,mail) /opt/odd/plain
%attr(4755,postgres,postgres) /opt/odd/suid
%attr(2755,root,mail) /opt/odd/sgid
%caps(cap_net_raw,cap_net_admin=ep) %attr(0755,root,root) /opt/odd/caps
%attr(3775,mysql,mysql) %dir /opt/odd/dir
%attr(-,redis,redis) /opt/odd/link
`

// chance are the paths that differ from one installation to the next, whoever
// is root, each with the reason.
var chance = []struct{ path, reason string }{
	{`^/var/lib/mysql/`, "files that mariadb makes at its end, or does not"},
	{`^/(run|tmp)/`, "what runs when"},
	{`^/var/lib/apt/lists/`, "what the mirror says"},
	{`^/var/cache/(man|ldconfig|apt|fontconfig|debconf|dnf)/`, "named by time or order"},
	{`^/var/(lib|log)/(dnf|rpm)/`, "database files"},
	{`^/var/log/`, "what runs when"},
	{`\.pyc$|/__pycache__$`, "compiled or not"},
	{`^/etc/ssl/certs/[0-9a-f]{8}\.[0-9]$`, "links by digest"},
	{`^/root/\.(dbus|cache)`, "what runs when"},
}

// TestTruth builds as a normal user and as real root, who is the truth, and
// compares type, mode, owner, device number, link target and extended attributes of every path.
func TestTruth(t *testing.T) {
	binary, base := os.Getenv("VIRGA_CONFORMANCE"), os.Getenv("VIRGA_TEST_BASE")
	if binary == "" || base == "" || os.Geteuid() != 0 {
		t.Skip("needs root, $VIRGA_CONFORMANCE and $VIRGA_TEST_BASE, a tarball of Debian; use make truth")
	}
	work, err := os.MkdirTemp("/var/tmp", "virga-truth")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(work) })
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	// Both find the packages that the first has fetched.
	for _, dir := range []string{work, work + "/real", work + "/real/home", work + "/debs", work + "/debs/partial", work + "/context"} {
		os.Mkdir(dir, 0o755)
		if err := os.Chmod(dir, map[bool]os.FileMode{true: 0o777, false: 0o755}[strings.HasPrefix(dir, work+"/debs")]); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"Dockerfile": truthFile, "odd.spec": truthSpec} {
		if err := os.WriteFile(filepath.Join(work, "context", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Where it is now, a normal user may not be able to read it.
	if out, err := exec.CommandContext(t.Context(), "cp", "--reflink=auto", base, work+"/base.tar").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Chmod(work+"/base.tar", 0o644); err != nil {
		t.Fatal(err)
	}
	base = work + "/base.tar"
	p := place{work: work, registry: strings.TrimPrefix(server.URL, "http://")}
	emulated := newVirga(t, p, binary)
	real := &virga{place: place{work: work + "/real", registry: p.registry}, binary: emulated.binary}
	for _, args := range [][]string{{"import", base, "base"}, {"push", "--plain-http", "base", p.registry + "/base"}} {
		if _, err := emulated.run(t.Context(), work, args...); err != nil {
			t.Fatal(err)
		}
	}
	got := truth(t, emulated, "emulated")
	want := truth(t, real, "real", "--isolation", "chroot")
	compareTruth(t, got, want)
}

// truth builds on the base in the registry, pushes, and reads what was pushed.
func truth(t *testing.T, v *virga, tag string, args ...string) tree {
	t.Helper()
	debs := filepath.Join(strings.TrimSuffix(v.work, "/real"), "debs")
	for _, step := range [][]string{
		append([]string{"build", "-t", tag, "--build-arg", "BASE=" + v.registry + "/base", "-b", debs + ":/var/cache/apt/archives", "."}, args...),
		{"push", "--plain-http", tag, v.registry + "/" + tag},
	} {
		if _, err := v.run(t.Context(), filepath.Join(filepath.Dir(debs), "context"), step...); err != nil {
			t.Fatal(err)
		}
	}
	files, err := v.files(t.Context(), tag)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// files reads an image of the test's registry.
func (p *place) files(ctx context.Context, repository string) (tree, error) {
	ref, err := name.ParseReference(p.registry+"/"+repository, name.Insecure)
	if err != nil {
		return nil, err
	}
	img, err := remote.Image(ref, remote.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	return readTree(img)
}

// nature is what a file is, but for its contents.
func (n *node) nature() string {
	if n == nil {
		return "nothing"
	}
	s := fmt.Sprintf("%s %04o %d:%d%s", kinds[n.kind], n.mode, n.uid, n.gid, n.attributes)
	if kinds[n.kind] != "file" {
		s += " " + n.text
	}
	return s
}

func compareTruth(t *testing.T, got, want tree) {
	t.Helper()
	all := maps.Clone(want)
	maps.Copy(all, got)
	byChance := make([]*regexp.Regexp, len(chance))
	for i, c := range chance {
		byChance[i] = regexp.MustCompile(c.path)
	}
	n, others, bad := 0, 0, 0
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if slices.ContainsFunc(byChance, func(r *regexp.Regexp) bool { return r.MatchString(path) }) {
			continue
		}
		n++
		if w := want[path]; w != nil && (w.uid != 0 || w.gid != 0) {
			others++
		}
		if g, w := got[path].nature(), want[path].nature(); g != w {
			if bad++; bad <= 50 {
				t.Errorf("%s: %s, and really %s", path, g, w)
			}
		}
	}
	t.Logf("%d paths compared, %d of them not root's, %d differ", n, others, bad)
	if n < 8000 || others < 500 {
		t.Errorf("%d paths, %d not root's: too few for what was installed", n, others)
	}
}
