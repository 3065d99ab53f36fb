package fakeroot

import (
	"bufio"
	"bytes"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// Step is one preparation of an image for fakeroot(1), run as root in it by
// /bin/sh -c.
type Step struct {
	Name    string // for messages: "install fakeroot"
	Check   string // succeeds if there is nothing to do; empty: always do
	Command string
}

// Distribution is how a family of distributions gets and uses fakeroot(1).
type Distribution struct {
	Name  string   // for messages: "debian"
	Words []string // a RUN with one of these words needs wrapping
	Steps []Step   // once per stage, before the first wrapped RUN
}

// match tells a distribution by a line of a file.
type match struct {
	file string // relative to the root
	line string // regular expression
}

// haveFakeroot succeeds if fakeroot(1) is installed.
const haveFakeroot = "command -v fakeroot >/dev/null"

// known lists the distributions; the first that fits counts, so that those
// with own files come before those that share os-release(5).
func known() []struct {
	any []match
	Distribution
} {
	install := func(command string) Step { return Step{"install fakeroot", haveFakeroot, command} }
	rpmWords := []string{"dnf", "rpm", "yum"}
	return []struct {
		any []match
		Distribution
	}{
		{
			[]match{{"etc/fedora-release", `release (2[4-9]|[3-9][0-9]|[1-9][0-9]{2})\b`}},
			Distribution{"fedora", rpmWords, []Step{install("dnf install -y fakeroot")}},
		},
		{
			[]match{{"etc/redhat-release", `release 7\.`}},
			Distribution{"rhel7", rpmWords, []Step{install(withEPEL("yum", "epel-release"))}},
		},
		{
			[]match{{"etc/redhat-release", `release ([89]|[1-9][0-9]+)(\.|\b)`}},
			Distribution{"rhel8", rpmWords, []Step{install(withEPEL("dnf",
				"https://dl.fedoraproject.org/pub/epel/epel-release-latest-$(rpm -E %rhel).noarch.rpm"))}},
		},
		{
			[]match{
				{"etc/os-release", `Debian GNU/Linux (9|[1-9][0-9]+)\b`},
				{"etc/os-release", `Ubuntu (1[4-9]|[2-9][0-9])\.`},
				{"etc/os-release", `^ID_LIKE=["']?([a-z ]* )?debian\b`},
			},
			Distribution{"debian", []string{"apt", "apt-get", "dpkg"}, []Step{
				{
					"turn apt's sandbox off",
					`apt-config dump | grep -Fq 'APT::Sandbox::User "root"' || ! grep -q '^_apt:' /etc/passwd`,
					`echo 'APT::Sandbox::User "root";' >/etc/apt/apt.conf.d/no-sandbox`,
				},
				install("apt-get update && apt-get install -y fakeroot"),
			}},
		},
		{
			[]match{{"etc/os-release", `^ID_LIKE=.*suse`}},
			Distribution{"suse", []string{"zypper", "rpm"}, []Step{{
				// fakeroot(1) is a script that needs getopt(1), and does not say so.
				"install fakeroot", haveFakeroot + " && command -v getopt >/dev/null",
				"zypper --non-interactive refresh && zypper --non-interactive install fakeroot /usr/bin/getopt",
			}}},
		},
		{
			[]match{{"etc/os-release", `^ID=["']?arch["']?$`}},
			Distribution{"arch", []string{"pacman"}, []Step{install("pacman -Syq --noconfirm fakeroot")}},
		},
		{
			[]match{{"etc/alpine-release", `^[0-9]+\.[0-9]+\.[0-9]+`}},
			Distribution{"alpine", []string{"apk"}, []Step{install("apk update && apk add fakeroot")}},
		},
		{
			[]match{{"etc/adelie-release", `.`}},
			Distribution{"adelie", []string{"apk"}, []Step{install("apk update && apk add fakeroot")}},
		},
	}
}

// withEPEL installs fakeroot from EPEL, which is removed again unless the
// image had it: what a build installs must not depend on how root is emulated.
func withEPEL(tool, release string) string {
	return "if grep -Eqs '^\\[epel\\]' /etc/yum.conf /etc/yum.repos.d/*; then " + tool + " install -y fakeroot; " +
		"else " + tool + " install -y " + release + " && " + tool + " install -y fakeroot && " + tool + " remove -y epel-release; fi"
}

// Detect finds the distribution installed in root; ok is false if none fits.
func Detect(root fs.FS) (d Distribution, ok bool) {
	for _, k := range known() {
		for _, m := range k.any {
			if m.holds(root) {
				return k.Distribution, true
			}
		}
	}
	return Distribution{}, false
}

// maxRelease bounds what is read of a file that an image may make of any size.
const maxRelease = 64 << 10

func (m match) holds(root fs.FS) bool {
	f, err := root.Open(m.file)
	if err != nil {
		return false
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return false
	}
	text, err := io.ReadAll(io.LimitReader(f, maxRelease))
	if err != nil {
		return false
	}
	line := regexp.MustCompile(m.line)
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if line.MatchString(s.Text()) {
			return true
		}
	}
	return false
}

// Wanted reports whether a command line uses a package manager: args are
// RUN's arguments, which are split at blanks.
func (d Distribution) Wanted(args []string) bool {
	for _, a := range args {
		for _, word := range strings.Fields(a) {
			if slices.Contains(d.Words, word) {
				return true
			}
		}
	}
	return false
}

// Wrap returns argv under fakeroot(1), and the environment for it. The real
// chown(2), which it tries too and may fail with EPERM, fails with EINVAL where there
// is one id only; so it must not be tried (fakeroot(1), FAKEROOTDONTTRYCHOWN).
func (d Distribution) Wrap(argv, env []string) ([]string, []string) {
	return append([]string{"fakeroot"}, argv...), append(slices.Clip(env), "FAKEROOTDONTTRYCHOWN=1")
}
