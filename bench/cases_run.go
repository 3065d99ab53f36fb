package main

func startCases() []benchCase {
	return []benchCase{
		{name: "start/version", title: "Start-up: --version", tools: []tool{
			{name: "virga", run: "$VIRGA --version"},
			{name: "ch-image", run: "ch-image --version"},
			{name: "ch-run", run: "ch-run --version"},
			{name: "buildah", run: "buildah --version"},
			{name: "podman", run: "podman --version"},
			{name: "umoci", run: "umoci --version"},
			{name: "skopeo", run: "skopeo --version"},
		}},
		{name: "start/list", title: "List $IMAGES images", tools: []tool{
			{
				name:  "virga",
				setup: `for i in $(seq $IMAGES); do mkdir -p $W/list; printf 'FROM scratch\nLABEL n=%d\n' $i >$W/list/Dockerfile; $VIRGA -s $W/list-virga build -t list$i $W/list; done`,
				run:   "$VIRGA -s $W/list-virga list", check: "[ $($VIRGA -s $W/list-virga list | wc -l) -ge $IMAGES ]",
			},
			{
				name: "buildah", note: "a storage directory of its own",
				setup: `for i in $(seq $IMAGES); do printf 'FROM scratch\nLABEL n=%d\n' $i >$W/list/Dockerfile; buildah --root $W/list-buildah --runroot $W/xdg/list build -q -t list$i $W/list; done`,
				run:   "buildah --root $W/list-buildah --runroot $W/xdg/list images", check: "[ $(buildah --root $W/list-buildah --runroot $W/xdg/list images -q | wc -l) -ge $IMAGES ]",
				cleanup: "buildah --root $W/list-buildah --runroot $W/xdg/list rmi -a -f; buildah unshare rm -rf $W/list-buildah",
			},
			{
				name:  "ch-image",
				setup: `mkdir -p $W/list-empty/bin $W/list-empty/dev $W/list-empty/usr; for i in $(seq $IMAGES); do ch-image --no-cache -s $W/list-ch import $W/list-empty list$i; done`,
				run:   "ch-image --no-cache -s $W/list-ch list", check: "[ $(ch-image --no-cache -s $W/list-ch list | wc -l) -ge $IMAGES ]",
				cleanup: "rm -rf $W/list-ch",
			},
		}},
	}
}

func runCases() []benchCase {
	// The same files for all: the base as a directory.
	const dir = "[ -d $W/base ] || { skopeo copy -q --src-tls-verify=false docker://$REG/bench/base:latest oci:$W/base.oci:base && umoci unpack --rootless --image $W/base.oci:base $W/base; }"
	return []benchCase{{name: "run/true", title: "Run /bin/true in a container", tools: []tool{
		{name: "virga", setup: "$VIRGA --tls-no-verify pull $REG/bench/base\n$VIRGA tag $REG/bench/base base", run: "$VIRGA run base /bin/true"},
		{name: "virga (directory)", setup: dir, run: "$VIRGA run $W/base/rootfs /bin/true"},
		{name: "ch-run", note: "a directory", setup: dir, run: "ch-run $W/base/rootfs -- /bin/true"},
		{name: "podman", note: "--network host, no log; crun, or runc where crun cannot", setup: "podman pull -q --tls-verify=false $REG/bench/base", run: "podman run --rm --network host --tls-verify=false $REG/bench/base /bin/true"},
		{name: "unshare", note: "unshare(1) and chroot(2), no mounts: what the kernel and two execs take", setup: dir, run: "unshare -r -m -R $W/base/rootfs /bin/true"},
	}}}
}
