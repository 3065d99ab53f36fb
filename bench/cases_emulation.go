package main

import "fmt"

// emulationCases compare the modes of root emulation with each other, with
// fakeroot(1), and with buildah, whose subordinate ids make chown real.
func emulationCases() []benchCase {
	// dpkg's fsync would measure the disk; every tool gets the same option.
	const install = "apt-get install -y --no-install-recommends -o APT::Sandbox::User=root -o Dpkg::Options::=--force-unsafe-io /debs/*.deb"
	prepare := func(image, work string) string {
		return fmt.Sprintf(`mkdir -p $W/emu; printf 'FROM %%s/bench/%s\nENV DEBIAN_FRONTEND=noninteractive ROUND=%%s\nRUN %s > /log 2>&1 || { tail -3 /log; exit 1; }\n' $REG $ROUND >$W/emu/Dockerfile`, image, work)
	}
	modes := func(image, work, fakerootWork string) []tool {
		mode := func(name, force, work, note string) tool {
			return tool{name: name, note: note, setup: basePulled(image)["virga"], prepare: prepare(image, work), run: virgaBuild + force + " -t emu $W/emu"}
		}
		buildah := tool{name: "buildah", note: buildahNote, setup: basePulled(image)["buildah"], prepare: prepare(image, work), run: buildahBuild + "-t emu $W/emu"}
		ch := tool{name: "ch-image", note: chNote + ", --force, which installs fakeroot(1) from the network", setup: basePulled(image)["ch-image"], prepare: prepare(image, work), run: chBuild + "--force -t emu $W/emu"}
		return []tool{
			mode("virga", "--force=seccomp", work, "the default"),
			mode("plain", "--force=plain", work, "virga --force=plain, which remembers nothing"),
			mode("consistent", "--force=consistent", work, "virga --force=consistent"),
			mode("none", "--force=none", work, "virga --force=none"),
			mode("fakeroot", "--force=none", fakerootWork, "virga --force=none, fakeroot(1) inside"),
			buildah, ch,
		}
	}
	const compile = "make -s -C /src -j2 CFLAGS=-O2"
	return []benchCase{
		{name: "emulation/install", big: true, title: "apt-get install of the packages in /debs, from local files, in one RUN", tools: modes("debs", install, "dpkg -i /fakeroot/*.deb >/dev/null 2>\\&1; FAKEROOTDONTTRYCHOWN=1 fakeroot "+install)},
		{name: "emulation/compile", big: true, title: "Compile 150 C files in one RUN, make -j2", tools: modes("compile", compile, "dpkg -i /fakeroot/*.deb >/dev/null 2>\\&1; FAKEROOTDONTTRYCHOWN=1 fakeroot "+compile)},
	}
}
