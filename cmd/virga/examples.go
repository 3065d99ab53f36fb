package main

// examples are how a command is used, each a line for a shell. --help and the
// command's manual page show them; a test holds them against the options.
func examples(command string) []string {
	switch command {
	case "":
		return []string{
			"virga build -t app .             # build the Dockerfile of this directory",
			"virga run app                    # run what it is made for",
			"virga run app -- ls -l /         # or something else",
			"virga push app registry.example.org/me/app:1",
		}
	case "build":
		return []string{
			"virga build -t app .",
			"virga build -t app -f other.df --build-arg VERSION=3 --target test src",
			"virga build -t app -b /scratch/data:/data:ro .",
			"virga build -o type=squashfs,dest=app.sqfs .",
			"virga build -t reg.example.com/me/app --attest -o type=registry .",
			"virga build -t app --cache-from reg.example.com/me/cache:app --cache-to type=registry,ref=reg.example.com/me/cache:app,mode=max .",
			`echo "FROM debian" | virga build -t copy -`,
		}
	case "pull":
		return []string{
			"virga pull debian:bookworm",
			"virga pull --arch arm64 alpine",
			"virga pull registry.example.org:5000/app /tmp/app    # the files alone",
			"virga pull --verify-key cosign.pub registry.example.org/me/app:1",
		}
	case "push":
		return []string{
			"virga push app registry.example.org/me/app:1",
			"virga push --compression zstd:9 app registry.example.org/me/app:1",
			"virga push --sign-key cosign.key app registry.example.org/me/app:1",
		}
	case "sign":
		return []string{"virga sign --key cosign.key registry.example.org/me/app:1"}
	case "verify":
		return []string{
			"virga verify --verify-key cosign.pub registry.example.org/me/app:1",
			"virga verify --verify-identity ada@example.com --verify-issuer https://accounts.google.com registry.example.org/me/app:1",
		}
	case "generate-key-pair":
		return []string{"virga generate-key-pair --output-key-prefix release"}
	case "run":
		return []string{
			"virga run app",
			"virga run debian -- cat /etc/os-release",
			"virga run -b /scratch:/data -c /data app ./simulate -n 100",
			"virga run app.sqfs",
			"virga run --state 1f0db7db71ef    # where a build failed",
		}
	case "shell":
		return []string{
			"virga shell debian",
			"virga shell -W --home debian    # changes are allowed, and forgotten",
		}
	case "list":
		return []string{
			"virga list -l",
			"virga list --format '{{.Repository}} {{.Size}}'",
			"virga list -f 'reference=app*'",
			"virga list alpine    # here and in its registry",
		}
	case "inspect":
		return []string{
			"virga inspect app | jq '.[0].Config.Env'",
			"virga inspect -f '{{.Architecture}}' app debian",
		}
	case "history":
		return []string{
			"virga history app",
			"virga history --no-trunc --format '{{.ID}} {{.Size}}' app",
		}
	case "tag":
		return []string{"virga tag app registry.example.org/me/app:1 app:old"}
	case "delete":
		return []string{
			"virga delete app:1",
			"virga delete 'app:*'",
		}
	case "undelete":
		return []string{
			"virga list -u        # what can come back",
			"virga undelete app:1",
		}
	case "save":
		return []string{
			"virga save -o app.tar app db:15",
			"virga save app | podman load",
			"virga save --format squashfs -o app.sqfs app",
			"virga save -o app.tar --attest app.json --sign-key cosign.key app",
		}
	case "load":
		return []string{
			"docker save app | virga load",
			"virga load -i app.tar.zst",
			"virga load -i layout/ -t app:test",
		}
	case "convert":
		return []string{
			"virga convert app app.sqfs",
			"virga convert docker-archive:app.tar.gz oci:layout",
			"virga convert rootfs.tar.xz base",
		}
	case "attest":
		return []string{
			"virga attest app.tar",
			"virga attest -o app.json --sign-key cosign.key app.tar.gz",
			"virga attest --image 2 --step release images.tar",
			"virga attest --type provenance app",
			"docker save app | virga attest -",
		}
	case "verify-attestation":
		return []string{
			"virga verify-attestation --verify-key cosign.pub registry.example.org/me/app:1",
			"virga verify-attestation --verify-key cosign.pub --type spdxjson reg.example.com/app | jq .predicate",
			"virga verify-attestation --verify-key cosign.pub --attestation app.json app.tar",
		}
	case "modify":
		return []string{
			"virga modify -c 'apt-get update' -c 'apt-get install -y gdb' debian:bookworm debug",
			"virga modify debian:bookworm tools setup.sh",
			"virga modify -i debug debug2",
		}
	case "import":
		return []string{
			"mmdebstrap --variant=minbase bookworm | virga import - debian",
			"virga import rootfs/ base",
		}
	case "unpack":
		return []string{"virga unpack -o rootfs app"}
	case "login":
		return []string{
			"virga login -u me registry.example.org",
			"pass show registry | virga login -u me --password-stdin registry.example.org",
		}
	case "logout":
		return []string{"virga logout registry.example.org"}
	case "du":
		return []string{
			"virga du",
			"virga du -v",
			"virga du --format '{{.Type}} {{.Bytes}}'",
		}
	case "prune":
		return []string{
			"virga prune -n       # what would go",
			"virga prune --keep-storage 20GB",
			"virga prune --filter until=7d",
			"virga prune -a --filter 'reference=ci-*' --filter until=24h",
		}
	case "build-cache":
		return []string{
			"virga build-cache",
			"virga build-cache --tree",
			"virga build-cache --dot | dot -Tsvg >cache.svg",
		}
	case "storage-path":
		return []string{`ls "$(virga storage-path)/img"`}
	case "reset":
		return []string{"virga reset", "virga reset --storage /scratch/me/old"}
	case "config":
		return []string{"virga config"}
	case "doctor":
		return []string{"virga doctor", "virga doctor --storage /scratch/me"}
	case "gestalt":
		return []string{"virga gestalt overlay || echo builds will copy files"}
	case "completion":
		return []string{
			". <(virga completion bash)",
			"virga completion fish | source",
		}
	case "version":
		return []string{"virga version"}
	case "help":
		return []string{"virga help build"}
	}
	return nil
}
