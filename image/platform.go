package image

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
)

// Platform is an OS, a processor architecture in GOARCH spelling, and the
// architecture's variant ("v7", "v8", or empty).
type Platform struct {
	OS, Arch, Variant string
}

// Host returns the platform virga itself runs on.
func Host() Platform {
	p := Platform{OS: "linux", Arch: runtime.GOARCH}
	return p.normal()
}

// ParsePlatform reads OS/ARCH[/VARIANT], ARCH[/VARIANT] or "host". Kernel
// spellings (x86_64, aarch64, armv7l) are accepted for the architecture.
func ParsePlatform(s string) (Platform, error) {
	if s == "" || s == "host" {
		return Host(), nil
	}
	part := strings.Split(strings.ToLower(s), "/")
	for _, p := range part {
		if p == "" {
			return Platform{}, fmt.Errorf("parse platform %q: empty component", s)
		}
	}
	var p Platform
	switch {
	case part[0] == "linux" || part[0] == "windows" || part[0] == "darwin" || part[0] == "freebsd":
		p.OS = part[0]
		part = part[1:]
	case len(part) == 3:
		return Platform{}, fmt.Errorf("parse platform %q: unknown operating system %q", s, part[0])
	default:
		p.OS = "linux"
	}
	switch len(part) {
	case 0:
		p.Arch = runtime.GOARCH
	case 1:
		p.Arch = part[0]
	case 2:
		p.Arch, p.Variant = part[0], part[1]
	default:
		return Platform{}, fmt.Errorf("parse platform %q: more than OS/ARCH/VARIANT", s)
	}
	return p.normal(), nil
}

var archAlias = map[string]Platform{
	"x86_64": {Arch: "amd64"}, "x86-64": {Arch: "amd64"}, "i386": {Arch: "386"}, "i686": {Arch: "386"},
	"aarch64": {Arch: "arm64"}, "armhf": {Arch: "arm", Variant: "v7"}, "armel": {Arch: "arm", Variant: "v6"},
	"armv7l": {Arch: "arm", Variant: "v7"}, "armv6l": {Arch: "arm", Variant: "v6"},
}

// normal resolves aliases. arm64's only variant, v8, is left out, as
// containerd's platforms package does; 32-bit arm without one is v7.
func (p Platform) normal() Platform {
	if a, ok := archAlias[p.Arch]; ok {
		p.Arch = a.Arch
		if p.Variant == "" {
			p.Variant = a.Variant
		}
	}
	if p.Arch == "arm64" && p.Variant == "v8" || p.Arch == "amd64" && p.Variant == "v1" {
		p.Variant = ""
	}
	if p.Arch == "arm" && p.Variant == "" {
		p.Variant = "v7"
	}
	return p
}

// String returns OS/ARCH[/VARIANT].
func (p Platform) String() string {
	s := p.OS + "/" + p.Arch
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// ArchString returns ARCH[/VARIANT], the form of --arch.
func (p Platform) ArchString() string {
	if p.Variant != "" {
		return p.Arch + "/" + p.Variant
	}
	return p.Arch
}

// Matches reports whether an image for q runs where p is wanted: same OS and
// architecture, and the same variant after normalisation.
func (p Platform) Matches(q Platform) bool {
	return p.normal() == q.normal()
}

// Fit grades how well an image for have serves where want is wanted: 0 not at
// all, exact best, in between the older the variant the worse.
func Fit(want, have Platform) int {
	const exact = 1000
	if want.Matches(have) {
		return exact
	}
	if want.OS != have.OS || want.Arch != have.Arch {
		return 0
	}
	w, h := variantNumber(want), variantNumber(have)
	if w < 0 || h < 0 || h > w {
		return 0
	}
	return 1 + h
}

// variantNumber is the N of variant vN; later ones run programs for earlier
// ones on arm (v7 runs v6 and v5), arm64 (v8.1...) and amd64 (v1-v4). A
// missing variant is the oldest, except that arm64 starts at v8.
func variantNumber(p Platform) int {
	if p.Variant == "" {
		switch p.Arch {
		case "arm64":
			return 80
		case "amd64":
			return 10
		}
		return 0
	}
	major, minor, _ := strings.Cut(strings.TrimPrefix(p.Variant, "v"), ".")
	n, err := strconv.Atoi(major)
	if err != nil || n < 0 || n > 50 {
		return -1
	}
	m, err := strconv.Atoi("0" + minor)
	if err != nil || m > 9 {
		return -1
	}
	return 10*n + m
}
