package main

import "fmt"

// How each builder is told to build. What is not said is its default, which is
// the build cache on; buildah has to be told.
const (
	virgaBuild   = "$VIRGA --tls-no-verify build "
	buildahBuild = "buildah build --layers --pull=false --tls-verify=false "
	chBuild      = "ch-image --tls-no-verify build "
)

const (
	buildahNote = "--layers, native overlay, --isolation chroot (quicker than its default with a runtime)"
	chNote      = "Debian 12's version, build cache on"
)

// basePulled brings an image into every builder's storage.
func basePulled(image string) map[string]string {
	return map[string]string{
		"virga":    "$VIRGA --tls-no-verify pull $REG/bench/" + image,
		"buildah":  "buildah pull -q --tls-verify=false $REG/bench/" + image,
		"ch-image": "ch-image --tls-no-verify pull $REG/bench/" + image,
	}
}

// builders are virga, buildah and ch-image at work on one context. make writes
// it, and is called before each run; with once it is called once and built
// from, untimed, first.
func builders(image, make, args string, once bool) []tool {
	var tools []tool
	for _, b := range []struct{ name, note, line string }{
		{"virga", "", virgaBuild}, {"buildah", buildahNote, buildahBuild}, {"ch-image", chNote, chBuild},
	} {
		t := tool{name: b.name, note: b.note, run: b.line + args, prepare: make, setup: basePulled(image)[b.name]}
		if once {
			t.setup, t.prepare = fmt.Sprintf("%s\n%s\n%s", t.setup, make, t.run), ""
		}
		tools = append(tools, t)
	}
	return tools
}

// runs writes a Dockerfile of N small RUNs; the middle one says middle, all
// others say every.
func runs(dir, n, every, middle string) string {
	return fmt.Sprintf(`mkdir -p $W/%[1]s; {
		echo FROM $REG/bench/base
		for i in $(seq %[2]s); do
			if [ $i -eq $((%[2]s / 2)) ]; then echo "RUN echo $i %[4]s > /file_$i"; else echo "RUN echo $i %[3]s > /file_$i"; fi
		done
	} >$W/%[1]s/Dockerfile`, dir, n, every, middle)
}

func build20Cases() []benchCase {
	changed := builders("base", runs("build20c", "$RUNS", "same", "same"), "-t build20c $W/build20c", true)
	for i := range changed {
		changed[i].prepare = runs("build20c", "$RUNS", "same", "$ROUND")
	}
	return []benchCase{
		{name: "build20/cold", title: "Build of $RUNS small RUNs, base image in storage, nothing in the build cache", tools: builders("base", runs("build20", "$RUNS", "$ROUND", "$ROUND"), "-t build20 $W/build20", false)},
		{name: "build20/warm", title: "The same $RUNS RUNs, all in the build cache", tools: builders("base", runs("build20w", "$RUNS", "same", "same"), "-t build20w $W/build20w", true)},
		{name: "build20/changed", title: "The same $RUNS RUNs, the middle one changed", tools: changed},
	}
}

func scienceCases() []benchCase {
	two := func(dir, text string) string {
		return fmt.Sprintf(`mkdir -p $W/%[1]s; printf 'FROM %%s/bench/science\nRUN echo %[2]s > /a\nRUN echo %[2]s > /b\n' $REG >$W/%[1]s/Dockerfile`, dir, text)
	}
	cases := []benchCase{
		{name: "science/cold", big: true, title: "Two RUNs on the 1.3 GB image, which is in storage; nothing in the build cache", tools: builders("science", two("science", "'$ROUND'"), "-t two $W/science", false)},
		{name: "science/warm", big: true, title: "The same two RUNs, in the build cache", tools: builders("science", two("sciencew", "same"), "-t twow $W/sciencew", true)},
	}
	return cases
}

func copyCases() []benchCase {
	const tree = "mkdir -p $W/copy$1; $BENCH tree $W/copy$1/data $FILES 50000000; printf 'FROM %s/bench/base\\nCOPY data /data\\n' $REG >$W/copy$1/Dockerfile"
	// Each round has a tree of its own: nothing is deleted just before.
	fresh := "set -- c$ROUND\n[ -d $W/copyc$ROUND ] || { " + tree + "; echo $ROUND >$W/copyc$ROUND/data/round; }"
	same := "set -- w\n[ -d $W/copyw ] || { " + tree + "; }"
	one := builders("base", same, "-t copyw $W/copyw", true)
	for i := range one {
		one[i].prepare = "echo $ROUND >$W/copyw/data/round"
	}
	return []benchCase{
		{name: "copy/cold", title: "COPY of $FILES new files, 50 MB", tools: builders("base", fresh, "-t copy $W/copyc$ROUND", false)},
		{name: "copy/unchanged", title: "The same COPY of $FILES files, nothing changed", tools: builders("base", same, "-t copyw $W/copyw", true)},
		{name: "copy/one", title: "The same COPY of $FILES files, one of them changed", tools: one},
	}
}

func stageCases() []benchCase {
	const stages = `mkdir -p $W/stages; {
		for i in 1 2 3 4; do printf 'FROM %s/bench/base AS s%d\nRUN head -c %sM /dev/zero | sha256sum > /out; echo %s\n' $REG $i $SPIN $ROUND; done
		printf 'FROM %s/bench/base\n' $REG
		for i in 1 2 3 4; do echo COPY --from=s$i /out /out$i; done
	} >$W/stages/Dockerfile`
	tools := builders("base", stages, "-t stages $W/stages", false)
	tools[1].run = buildahBuild + "--jobs 2 -t stages $W/stages"
	tools[1].note += ", --jobs 2"
	tools[2].note += ", one stage after the other"
	return []benchCase{{name: "stages/four", title: "Four independent stages, each the digest of $SPIN MB, and one that copies from them", tools: tools}}
}

// manyCases are ten builds at once. Each computes for a while, so that the
// least that it can take is what the same programs take without a container.
func manyCases() []benchCase {
	const (
		work     = "head -c ${SPIN}M /dev/zero | sha256sum"
		contexts = `for n in 0 1 2 3 4 5 6 7 8 9; do mkdir -p $W/many$n; {
			echo FROM $REG/bench/base
			for i in 1 2 3 4 5; do echo "RUN echo $ROUND $n $i > /file_$i"; done
			echo "RUN head -c ${SPIN}M /dev/zero | sha256sum > /out"
		} >$W/many$n/Dockerfile; done`
		ten = `for n in 0 1 2 3 4 5 6 7 8 9; do %s & pids="$pids $!"; done; for p in $pids; do wait $p; done`
	)
	tools := builders("base", contexts, "", false)
	for i, line := range []string{virgaBuild, buildahBuild, chBuild} {
		tools[i].run = fmt.Sprintf(ten, line+"-t many$n $W/many$n")
	}
	tools = append(tools, tool{name: "bare", note: "the same computations, no container", run: fmt.Sprintf(ten, work)})
	return []benchCase{{name: "many/builds", title: "Ten builds at once on one storage directory, each of five small RUNs and the digest of $SPIN MB", tools: tools}}
}
