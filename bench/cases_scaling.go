package main

import (
	"fmt"
	"strings"
)

// scalingCases are curves: one size at a time, all else the same. Their images
// are made by this program and pulled from the registry that cases may write to.
func scalingCases() []benchCase {
	var all []benchCase
	pull := func(curve string, x, files, bytes, layers int, big bool) {
		image := fmt.Sprintf("scale-%s-%d", curve, x)
		put := fmt.Sprintf("rm -rf $FAST/image; $BENCH image $FAST/image %d %d %d; skopeo copy -q --dest-tls-verify=false oci:$FAST/image:x docker://$EMPTY/bench/%s; rm -rf $FAST/image", files, bytes, layers, image)
		tools := pullers(image)
		for i := range tools {
			tools[i].run = strings.ReplaceAll(tools[i].run, "$REG", "$EMPTY")
		}
		tools[0].setup = put
		all = append(all, benchCase{
			name: fmt.Sprintf("scale-%s/%d", curve, x), curve: "pull, " + curve, x: float64(x), big: big, tools: tools,
			title: fmt.Sprintf("Pull %d files, %d MB, %d layers into empty storage", files, bytes/1e6, layers),
		})
	}
	for _, n := range []int{1000, 10_000, 100_000, 1_000_000} {
		pull("files", n, n, n*1000, 1, n > 10_000)
	}
	for _, mb := range []int{10, 100, 1000, 4000} {
		pull("megabytes", mb, 100, mb*1e6, 1, mb > 10)
	}
	for _, n := range []int{1, 10, 100} {
		pull("layers", n, 10_000, 100e6, n, n > 1)
	}
	for _, n := range []int{5, 20, 80} {
		dir := fmt.Sprintf("runs%d", n)
		all = append(all, benchCase{
			name: fmt.Sprintf("scale-instructions/%d", n), curve: "build, instructions", x: float64(n), big: n > 5,
			title: fmt.Sprintf("Build of %d small RUNs, nothing in the build cache", n),
			tools: builders("base", runs(dir, fmt.Sprint(n), "$ROUND", "$ROUND"), "-t "+dir+" $W/"+dir, false),
		})
	}
	return all
}
