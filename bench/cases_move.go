package main

import "fmt"

// Storage that only the case uses is removed by these, whoever owns it.
const (
	noVirga   = "chmod -R u+rwX $W/pull-virga 2>/dev/null || true; rm -rf $W/pull-virga"
	noCh      = "chmod -R u+rwX $W/pull-ch 2>/dev/null || true; rm -rf $W/pull-ch"
	noBuildah = "buildah --root $W/pull-buildah --runroot $W/xdg/pull rmi -a -f >/dev/null 2>&1 || true; buildah unshare rm -rf $W/pull-buildah"
	noUmoci   = "chmod -R u+rwX $W/pull-oci $W/pull-bundle 2>/dev/null || true; rm -rf $W/pull-oci $W/pull-bundle"
)

// pullers pull an image into empty storage.
func pullers(image string) []tool {
	ref := "$REG/bench/" + image
	return []tool{
		{name: "virga", prepare: noVirga, run: "$VIRGA --tls-no-verify -s $W/pull-virga pull " + ref, cleanup: noVirga},
		{name: "buildah", note: "rootless, native overlay", prepare: noBuildah, run: "buildah --root $W/pull-buildah --runroot $W/xdg/pull pull -q --tls-verify=false " + ref, cleanup: noBuildah},
		{name: "skopeo+umoci", note: "skopeo copy to an OCI layout, umoci unpack --rootless", prepare: noUmoci,
			run:     fmt.Sprintf("skopeo copy -q --src-tls-verify=false docker://%s:latest oci:$W/pull-oci:x && umoci unpack --rootless --image $W/pull-oci:x $W/pull-bundle", ref),
			cleanup: noUmoci},
		{name: "ch-image", note: "Debian 12's version, --no-cache, which is quicker", prepare: noCh, run: "ch-image --tls-no-verify --no-cache -s $W/pull-ch pull " + ref, cleanup: noCh},
	}
}

// pullCases pull the 1.3 GB image, or the base where that is not made.
func pullCases() []benchCase {
	again := pullers("science")
	for i := range again {
		t := &again[i]
		t.setup, t.prepare = t.prepare+"\n"+t.run, ""
	}
	again[1].run = "buildah --root $W/pull-buildah --runroot $W/xdg/pull pull -q --policy always --tls-verify=false $REG/bench/science"
	again[2].prepare = "chmod -R u+rwX $W/pull-bundle || true; rm -rf $W/pull-bundle"
	again[3].note = "Debian 12's version, --no-cache; it unpacks again"
	return []benchCase{
		{name: "pull/base", title: "Pull Debian minbase into empty storage", tools: pullers("base")},
		{name: "pull/cold", big: true, title: "Pull the 1.3 GB image in five layers into empty storage", tools: pullers("science")},
		{name: "pull/again", big: true, title: "The same pull, all blobs in storage", tools: again},
	}
}

// unpackCases take one layer from memory to memory. The decompressors alone are
// what no unpacker can be quicker than.
func unpackCases() []benchCase {
	layer := func(kind, decompressor string, tools ...tool) benchCase {
		const dir = "chmod -R u+rwX $FAST/unpack 2>/dev/null || true; rm -rf $FAST/unpack; mkdir -p $FAST/unpack"
		file := "$FAST/layer.tar." + kind
		tools = append([]tool{{name: "virga", note: "load of an OCI layout with that layer into empty storage: the blob is kept, both digests are verified",
			run: "$VIRGA -s $FAST/unpack load -i $FAST/layout -t layer >/dev/null"}}, tools...)
		for i := range tools {
			t := &tools[i]
			t.setup = fmt.Sprintf("[ -e %[1]s ] || cp $CACHE/science.tar.%[2]s %[1]s", file, kind)
			t.prepare, t.cleanup = dir, dir+"; rm -rf $FAST/layout "+file
		}
		tools[0].setup += "\n" + layout(file, decompressor)
		return benchCase{name: "unpack/" + map[string]string{"gz": "gzip", "zst": "zstd"}[kind], big: true,
			title: "Unpack one layer of 1.3 GB, in memory", tools: tools}
	}
	return []benchCase{
		layer("gz", "gzip",
			tool{name: "tar", run: "tar -C $FAST/unpack -xzf $FAST/layer.tar.gz"},
			tool{name: "tar, pigz", run: "tar -C $FAST/unpack -I pigz -xf $FAST/layer.tar.gz"},
			tool{name: "igzip", note: "decompression alone", run: "igzip -d -c $FAST/layer.tar.gz"},
			tool{name: "gzip", note: "decompression alone", run: "gzip -d -c $FAST/layer.tar.gz"}),
		layer("zst", "zstd",
			tool{name: "tar", run: "tar -C $FAST/unpack --zstd -xf $FAST/layer.tar.zst"},
			tool{name: "zstd", note: "decompression alone", run: "zstd -q -d -c $FAST/layer.tar.zst"}),
	}
}

// layout makes $FAST/layout, an OCI image layout whose one layer is the file.
func layout(file, decompressor string) string {
	return fmt.Sprintf(`
t=application/vnd.oci.image d=$FAST/layout
rm -rf $d; mkdir -p $d/blobs/sha256
blob() { h=$(sha256sum <$d/new | cut -d' ' -f1); n=$(stat -L -c %%s $d/new); mv $d/new $d/blobs/sha256/$h; }
ln %[1]s $d/new; blob
layer='"mediaType":"'$t'.layer.v1.tar+%[2]s","digest":"sha256:'$h'","size":'$n
printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:%%s"]}}' $(%[2]s -dc <%[1]s | sha256sum | cut -d' ' -f1) >$d/new; blob
printf '{"schemaVersion":2,"mediaType":"%%s.manifest.v1+json","config":{"mediaType":"%%s.config.v1+json","digest":"sha256:%%s","size":%%s},"layers":[{%%s}]}' $t $t $h $n "$layer" >$d/new; blob
printf '{"schemaVersion":2,"manifests":[{"mediaType":"%%s.manifest.v1+json","digest":"sha256:%%s","size":%%s}]}' $t $h $n >$d/index.json
echo '{"imageLayoutVersion":"1.0.0"}' >$d/oci-layout`, file, decompressor)
}

// pushers push an image; emptied empties the registry before.
func pushers(image string, emptied bool) []tool {
	ref := "$REG/bench/" + image
	tools := []tool{
		{name: "virga", setup: basePulled(image)["virga"], run: "$VIRGA --tls-no-verify push " + ref + " $EMPTY/virga"},
		{name: "buildah", note: "rootless, native overlay", setup: basePulled(image)["buildah"], run: "buildah push -q --tls-verify=false " + ref + " docker://$EMPTY/buildah"},
		{name: "skopeo", note: "from an OCI layout, which has the layers compressed", run: "skopeo copy -q --dest-tls-verify=false oci:$W/push-oci:x docker://$EMPTY/skopeo",
			setup:   "rm -rf $W/push-oci; skopeo copy -q --src-tls-verify=false docker://" + ref + ":latest oci:$W/push-oci:x",
			cleanup: "rm -rf $W/push-oci"},
		{name: "ch-image", note: "Debian 12's version; one layer, owners lost", setup: basePulled(image)["ch-image"], run: "ch-image --tls-no-verify push " + ref + " $EMPTY/ch"},
	}
	for i := range tools {
		if t := &tools[i]; emptied {
			t.prepare = "rm -rf $FAST/pushed/docker"
		} else {
			t.setup += "\n" + t.run
		}
	}
	return tools
}

func pushCases() []benchCase {
	one := pushers("science", false)
	for i, build := range []string{virgaBuild, buildahBuild, "", chBuild} {
		t := &one[i]
		if build == "" {
			t.setup, t.prepare, t.run = "", "", "echo cannot build >&2; exit 1"
			continue
		}
		t.prepare = fmt.Sprintf("mkdir -p $W/push; printf 'FROM %%s/bench/science\\nRUN echo %%s > /round\\n' $REG $ROUND >$W/push/Dockerfile; %s -t pushed $W/push", build)
	}
	one[0].run = "$VIRGA --tls-no-verify push pushed $EMPTY/virga"
	one[1].run = "buildah push -q --tls-verify=false localhost/pushed docker://$EMPTY/buildah"
	one[3].run = "ch-image --tls-no-verify push pushed $EMPTY/ch"
	one = append(one[:2], one[3])
	return []benchCase{
		{name: "push/base", title: "Push Debian minbase to an empty registry", tools: pushers("base", true)},
		{name: "push/cold", big: true, title: "Push the 1.3 GB image to an empty registry", tools: pushers("science", true)},
		{name: "push/unchanged", big: true, title: "The same push, the registry has it", tools: pushers("science", false)},
		{name: "push/one", big: true, title: "Push an image with one small layer on the 1.3 GB, which the registry has", tools: one},
		{name: "push/packed", big: true, title: "Push an image whose one layer, 1.3 GB of files, has to be packed", tools: packers()},
	}
}

// packers push what was never a layer before: a directory.
func packers() []tool {
	const tree = "[ -d $W/tree ] || { mkdir $W/tree; tar -C $W/tree -xzf $CACHE/science.tar.gz; }"
	return []tool{
		{name: "virga", setup: tree, prepare: "rm -rf $FAST/pushed/docker\nchmod -R u+rwX $W/pack-virga 2>/dev/null || true; rm -rf $W/pack-virga; $VIRGA -s $W/pack-virga import $W/tree tree",
			run: "$VIRGA --tls-no-verify -s $W/pack-virga push tree $EMPTY/virga", cleanup: "chmod -R u+rwX $W/pack-virga || true; rm -rf $W/pack-virga"},
		{name: "buildah", note: "rootless, native overlay", setup: tree + "\nprintf 'FROM scratch\\nCOPY . /\\n' >$W/tree.Dockerfile; buildah build -q --layers -f $W/tree.Dockerfile -t tree $W/tree",
			prepare: "rm -rf $FAST/pushed/docker", run: "buildah push -q --tls-verify=false localhost/tree docker://$EMPTY/buildah"},
		{name: "ch-image", note: "Debian 12's version", setup: tree + "\nch-image --no-cache -s $W/pack-ch import $W/tree tree", prepare: "rm -rf $FAST/pushed/docker",
			run: "ch-image --tls-no-verify --no-cache -s $W/pack-ch push tree $EMPTY/ch", cleanup: "chmod -R u+rwX $W/pack-ch $W/tree || true; rm -rf $W/pack-ch $W/tree"},
	}
}

// fileCases save an image to a file and load it from one.
func fileCases() []benchCase {
	ref := "$REG/bench/science"
	const empty = "rm -f $FAST/saved.tar"
	save := []tool{
		{name: "virga", setup: basePulled("science")["virga"], prepare: empty, run: "$VIRGA save --format oci -o $FAST/saved.tar " + ref, cleanup: empty},
		{name: "podman", setup: basePulled("science")["buildah"], prepare: empty, run: "podman save -q --format oci-archive -o $FAST/saved.tar " + ref, cleanup: empty},
		{name: "skopeo", note: "from an OCI layout", setup: "skopeo copy -q --src-tls-verify=false docker://" + ref + ":latest oci:$W/save-oci:x", prepare: empty,
			run: "skopeo copy -q oci:$W/save-oci:x oci-archive:$FAST/saved.tar:x", cleanup: "rm -rf $W/save-oci; " + empty},
	}
	const file = "[ -e $FAST/load.tar ] || skopeo copy -q --src-tls-verify=false docker://$REG/bench/science:latest oci-archive:$FAST/load.tar:science"
	loads := []tool{
		{name: "virga", setup: file, prepare: noVirga, run: "$VIRGA -s $W/pull-virga load -i $FAST/load.tar", cleanup: noVirga + "; rm -f $FAST/load.tar"},
		{name: "podman", setup: file, prepare: noBuildah, run: "podman --root $W/pull-buildah --runroot $W/xdg/pull load -q -i $FAST/load.tar", cleanup: noBuildah},
		{name: "skopeo+umoci", setup: file, prepare: noUmoci, run: "skopeo copy -q oci-archive:$FAST/load.tar:science oci:$W/pull-oci:x && umoci unpack --rootless --image $W/pull-oci:x $W/pull-bundle", cleanup: noUmoci},
	}
	return []benchCase{
		{name: "files/save", big: true, title: "Save the 1.3 GB image as an OCI archive, to memory", tools: save},
		{name: "files/load", big: true, title: "Load the 1.3 GB image from an OCI archive in memory, into empty storage", tools: loads},
	}
}
