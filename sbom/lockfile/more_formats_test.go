package lockfile

import (
	"strings"
	"testing"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

func TestGemfileLock(t *testing.T) {
	res := parse(t, GemfileLock, "Gemfile.lock", `GIT
  remote: https://git.example.com/g.git
  revision: `+commitA+`
  branch: main
  specs:
    g (1.0)

PATH
  remote: engines/e
  specs:
    e (0.1)

GEM
  remote: https://gems.example.com/
  specs:
    a (1.0)
      b (>= 1)
    b (2.0-x86_64-linux)

PLATFORMS
  ruby

DEPENDENCIES
  a (~> 1.0)
  e!
  g!

CHECKSUMS
  a (1.0) sha256=`+hex256+`
  b (2.0-x86_64-linux) sha256=`+hex256+`

BUNDLED WITH
   2.6.0
`, nil)
	check(t, res,
		want{purl: "pkg:gem/g@1.0", kind: sbom.KindGit, relation: dir, origin: "https://git.example.com/g.git"},
		want{purl: "pkg:gem/e@0.1", kind: sbom.KindPath, relation: dir, origin: "engines/e"},
		want{purl: "pkg:gem/a@1.0", relation: dir, digests: 1, registry: "https://gems.example.com/", line: 16},
		want{purl: "pkg:gem/b@2.0?platform=x86_64-linux", relation: trs, digests: 1, registry: "https://gems.example.com/"})
}

func TestComposerLock(t *testing.T) {
	res := parse(t, ComposerLock, "composer.lock", `{"packages":[
{"name":"V/a","version":"1.0.0","source":{"type":"git","url":"https://git.example.com/a.git","reference":"`+commitA+`"},
 "dist":{"type":"zip","url":"https://files.example.com/a.zip","reference":"`+commitA+`","shasum":""},"notification-url":"https://registry.example.com/downloads/"},
{"name":"v/p","version":"dev-main","dist":{"type":"path","url":"../p"}}],
"packages-dev":[{"name":"v/fork","version":"2.0.0","source":{"type":"git","url":"https://git.example.com/fork.git","reference":"`+commitA+`"}}]}`,
		map[string]string{"composer.json": `{"require":{"v/A":"^1"}}`})
	check(t, res,
		want{purl: "pkg:composer/v/a@1.0.0", scope: rt, relation: dir, digests: 1, registry: reg, problem: sbom.ProblemNoDigest, line: 2},
		want{purl: "pkg:composer/v/p@dev-main", kind: sbom.KindPath, scope: rt, relation: trs, origin: "../p", problem: sbom.ProblemUnpinned},
		want{purl: "pkg:composer/v/fork@2.0.0", kind: sbom.KindGit, scope: dev, relation: trs, digests: 1, origin: "https://git.example.com/fork.git"})
}

func TestNuGet(t *testing.T) {
	hash := strings.TrimPrefix(sri512, "sha512-")
	res := parse(t, NuGetLock, "packages.lock.json", `{"version":1,"dependencies":{"net8.0":{
"A.B":{"type":"Direct","requested":"[1.0.0, )","resolved":"1.0.0","contentHash":"`+hash+`"},
"c":{"type":"Transitive","resolved":"2.0.0"},
"proj":{"type":"Project"}},"net9.0":{"A.B":{"type":"Direct","resolved":"1.0.0","contentHash":"`+hash+`"}}}}`, nil)
	check(t, res,
		want{purl: "pkg:nuget/a.b@1.0.0", scope: rt, relation: dir, digests: 1, line: 2},
		want{purl: "pkg:nuget/c@2.0.0", scope: rt, relation: trs, problem: sbom.ProblemNoDigest},
		want{purl: "pkg:nuget/proj", kind: sbom.KindWorkspace, scope: rt})
	if alg := find(t, res, "pkg:nuget/a.b@1.0.0").Artifacts[0].Digests[0].Algorithm; alg != trust.NuGetContent {
		t.Errorf("contentHash is read as %s", alg)
	}
	res = parse(t, NuGetAssets, "obj/project.assets.json", `{"version":3,"libraries":{"A/1.0.0":{"sha512":"`+hash+`","type":"package"},"P/1.0.0":{"type":"project","path":"../P/P.csproj"}},
"project":{"frameworks":{"net8.0":{"dependencies":{"A":{}}}}}}`, nil)
	check(t, res,
		want{purl: "pkg:nuget/a@1.0.0", scope: rt, relation: dir, digests: 1},
		want{purl: "pkg:nuget/p@1.0.0", kind: sbom.KindWorkspace, scope: rt, relation: trs, origin: "../P/P.csproj"})
	res = parse(t, NuGetConfig, "packages.config", `<packages><package id="A" version="1.0.0" developmentDependency="true"/></packages>`, nil)
	check(t, res, want{purl: "pkg:nuget/a@1.0.0", scope: dev})
}

func TestGradle(t *testing.T) {
	verification := `<?xml version="1.0"?>
<verification-metadata xmlns="https://schema.gradle.org/dependency-verification">
<configuration><trusted-keys><trusted-key id="abcd" group="g"/></trusted-keys></configuration>
<components><component group="g" name="a" version="1.0">
<artifact name="a-1.0.jar"><sha256 value="` + hex256 + `"/><pgp value="ef01"/></artifact></component></components></verification-metadata>`
	res := parse(t, GradleLock, "gradle.lockfile", "# header\ng:a:1.0=compileClasspath,testRuntimeClasspath\ng:t:2.0=testRuntimeClasspath\nempty=\n", map[string]string{"gradle/verification-metadata.xml": verification})
	check(t, res, want{purl: "pkg:maven/g/a@1.0", scope: rt, digests: 1, line: 2}, want{purl: "pkg:maven/g/t@2.0", scope: dev})
	res = parse(t, GradleVerification, "gradle/verification-metadata.xml", verification, nil)
	check(t, res, want{purl: "pkg:maven/g/a@1.0", digests: 1, line: 4})
	if e := res.Components[0].Expect; len(e) != 2 || e[0]["fingerprint"] != "EF01" || e[1]["fingerprint"] != "ABCD" {
		t.Errorf("expectations %v", e)
	}
}

func TestPOM(t *testing.T) {
	res := parse(t, MavenPOM, "pom.xml", `<project><modelVersion>4.0.0</modelVersion><groupId>g</groupId><artifactId>app</artifactId><version>1</version>
<properties><v>${w}</v><w>2.0</w><loop>${loop}x</loop></properties>
<dependencyManagement><dependencies><dependency><groupId>g</groupId><artifactId>m</artifactId><version>3.0</version><scope>test</scope></dependency></dependencies></dependencyManagement>
<dependencies>
<dependency><groupId>${project.groupId}</groupId><artifactId>a</artifactId><version>${v}</version><classifier>tests</classifier></dependency>
<dependency><groupId>g</groupId><artifactId>m</artifactId></dependency>
<dependency><groupId>g</groupId><artifactId>u</artifactId></dependency>
<dependency><groupId>g</groupId><artifactId>r</artifactId><version>[1,2)</version></dependency>
<dependency><groupId>g</groupId><artifactId>l</artifactId><version>${loop}</version></dependency>
<dependency><groupId>g</groupId><artifactId>s</artifactId><version>1</version><scope>system</scope><systemPath>lib/s.jar</systemPath></dependency>
</dependencies></project>`, nil)
	check(t, res,
		want{purl: "pkg:maven/g/app@1", kind: sbom.KindWorkspace, scope: rt, relation: dir, origin: "."},
		want{purl: "pkg:maven/g/a@2.0?classifier=tests", scope: rt, relation: dir, line: 5},
		want{purl: "pkg:maven/g/m@3.0", scope: dev, relation: dir},
		want{purl: "pkg:maven/g/u", scope: rt, relation: dir, problem: sbom.ProblemUnpinned},
		want{purl: "pkg:maven/g/r", scope: rt, relation: dir, problem: sbom.ProblemUnpinned},
		want{purl: "pkg:maven/g/l", scope: rt, relation: dir, problem: sbom.ProblemUnpinned},
		want{purl: "pkg:maven/g/s@1", kind: sbom.KindPath, scope: rt, relation: dir, origin: "lib/s.jar"})
}

func TestActions(t *testing.T) {
	res := parse(t, Workflow, ".github/workflows/ci.yml", `on: push
jobs:
  a:
    container: {image: 'registry.example.com/img:1@sha256:`+hex256+`'}
    services: {db: {image: db:1}}
    steps:
      - uses: O/a/sub/dir@`+commitA+` # v9.9.9
      - uses: o/b@v1
      - uses: ./local
      - uses: docker://registry.example.com/x:2
      - run: echo
  b:
    uses: o/c/.github/workflows/w.yml@main
`, nil)
	check(t, res,
		want{purl: "pkg:oci/img@sha256:" + hex256 + "?repository_url=registry.example.com/img&tag=1", scope: dev, relation: dir, digests: 1, registry: "registry.example.com", line: 4},
		want{purl: "pkg:oci/db?repository_url=db&tag=1", scope: dev, relation: dir, problem: sbom.ProblemUnpinned},
		want{purl: "pkg:github/o/a@" + commitA + "#sub/dir", scope: dev, relation: dir, digests: 1, line: 7},
		want{purl: "pkg:github/o/b@v1", scope: dev, relation: dir, problem: sbom.ProblemUnpinned},
		want{purl: "pkg:generic/local", kind: sbom.KindPath, scope: dev, relation: dir, origin: "./local"},
		want{purl: "pkg:oci/x?repository_url=registry.example.com/x&tag=2", scope: dev, relation: dir, registry: "registry.example.com", problem: sbom.ProblemUnpinned},
		want{purl: "pkg:github/o/c@main#.github/workflows/w.yml", scope: dev, relation: dir, problem: sbom.ProblemUnpinned})
	for comment, version := range map[string]string{
		" # v9.9.9": "v9.9.9", "  #v4": "v4", " # tag=v1.2": "v1.2", "' # 4.1.1-beta.1 (latest)": "4.1.1-beta.1", " # pin@v2": "v2", " # ref: v3": "v3",
		"": "", " # keep": "", " # 2024-05-01": "", " # v1.2.3.4.5": "", "# v9": "", " # see v9": "", " # version 9": "",
	} {
		quote := ""
		if strings.HasPrefix(comment, "'") {
			quote = "'"
		}
		text := "jobs:\n  a:\n    steps:\n      - uses: " + quote + "o/a@" + commitA + comment + "\n"
		res := parse(t, Workflow, ".github/workflows/ci.yml", text, nil)
		if strings.HasPrefix(comment, "# ") {
			continue // no comment, but a part of the ref
		}
		got := ""
		if c := res.Components[0]; len(c.Expect) == 1 && c.Expect[0]["kind"] == sbom.ExpectVersion {
			got = c.Expect[0]["version"]
		}
		if got != version {
			t.Errorf("%q: version %q, want %q", comment, got, version)
		}
	}
	// One commit under two comments: both are compared.
	res = parse(t, Workflow, "w.yml", "jobs:\n  a:\n    steps:\n      - uses: o/a@"+commitA+" # v1.0.0\n      - uses: o/a@"+commitA+" # v2.0.0\n", nil)
	if len(res.Components) != 1 || len(res.Components[0].Expect) != 2 {
		t.Errorf("two comments: %+v", res.Components)
	}
	res = parse(t, Action, "action.yml", "runs:\n  using: composite\n  steps:\n    - uses: o/b@v1\n", nil)
	if len(res.Components) != 1 {
		t.Errorf("action: %+v", res.Components)
	}
}

func TestImages(t *testing.T) {
	res := parse(t, Dockerfile, "Dockerfile", `# syntax=registry.example.com/docker/dockerfile:1
ARG BASE=registry.example.com/base
ARG TAG
FROM --platform=linux/amd64 ${BASE}:${TAG:-3} AS build
RUN <<EOF
FROM not.example.com/inside
EOF
FROM scratch
COPY --from=build /a /a
COPY --from=registry.example.com/tools@sha256:`+hex256+` /b /b
FROM build
FROM $UNKNOWN
`, nil)
	check(t, res,
		want{purl: "pkg:oci/dockerfile?repository_url=registry.example.com/docker/dockerfile&tag=1", scope: dev, relation: dir, registry: "registry.example.com", problem: sbom.ProblemUnpinned},
		want{purl: "pkg:oci/base?repository_url=registry.example.com/base&tag=3", scope: rt, relation: dir, registry: "registry.example.com", problem: sbom.ProblemUnpinned, line: 4},
		want{purl: "pkg:oci/tools@sha256:" + hex256 + "?repository_url=registry.example.com/tools", scope: dev, relation: dir, digests: 1, registry: "registry.example.com"})
	if len(res.Problems) != 1 || res.Problems[0].Code != sbom.ProblemUnpinned {
		t.Errorf("problems %v", res.Problems)
	}
	res = parse(t, Compose, "compose.yaml", "x-base: &b\n  image: registry.example.com/a:1\nservices:\n  a:\n    <<: *b\n  built:\n    build: .\n    image: mine\n", nil)
	check(t, res, want{purl: "pkg:oci/a?repository_url=registry.example.com/a&tag=1", scope: rt, relation: dir, registry: "registry.example.com", problem: sbom.ProblemUnpinned})
	res = parse(t, Kubernetes, "deploy.yaml", "apiVersion: v1\nkind: Pod\nspec:\n  initContainers: [{image: a}]\n  containers:\n    - image: b@sha256:"+hex256+"\n---\napiVersion: batch/v1\nkind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{image: 'h.example.com:5000/c:1'}]}}}}}\n", nil)
	check(t, res,
		want{purl: "pkg:oci/a?repository_url=a&tag=latest", scope: rt, relation: dir, problem: sbom.ProblemUnpinned},
		want{purl: "pkg:oci/b@sha256:" + hex256 + "?repository_url=b", scope: rt, relation: dir, digests: 1, line: 6},
		want{purl: "pkg:oci/c?repository_url=h.example.com:5000/c&tag=1", scope: rt, relation: dir, registry: "h.example.com:5000", problem: sbom.ProblemUnpinned})
}

func TestOtherFormats(t *testing.T) {
	res := parse(t, ChartLock, "Chart.lock", "dependencies:\n- name: a\n  repository: https://charts.example.com\n  version: 1.0.0\n- name: l\n  repository: file://../l\n  version: 0.1.0\ndigest: sha256:x\ngenerated: \"2024-01-01T00:00:00Z\"\n", nil)
	check(t, res,
		want{purl: "pkg:helm/a@1.0.0?repository_url=https://charts.example.com", scope: rt, relation: dir, registry: "https://charts.example.com"},
		want{purl: "pkg:helm/l@0.1.0", kind: sbom.KindPath, scope: rt, relation: dir, origin: "file://../l"})
	chart := "apiVersion: v2\nname: app\nversion: 1.0.0\ndependencies:\n- {name: a, version: ^1.0.0, repository: 'oci://charts.example.com/x'}\n"
	if res = parse(t, ChartYAML, "Chart.yaml", chart, nil); !has(res.Components[0], sbom.ProblemUnpinned) {
		t.Errorf("range: %+v", res.Components)
	}
	if res = parse(t, ChartYAML, "Chart.yaml", chart, map[string]string{"Chart.lock": ""}); res.PartOf != "Chart.lock" || len(res.Components) != 0 {
		t.Errorf("with lock: %+v", res)
	}
	res = parse(t, MixLock, "mix.lock", `%{
  "a": {:hex, :a_real, "1.0.0", "`+hex256+`", [:mix], [{:b, "~> 1.0", [hex: :b, repo: "hexpm", optional: false]}], "hexpm", "`+hex256+`"},
  "g": {:git, "https://git.example.com/g.git", "`+commitA+`", []},
}
`, nil)
	check(t, res,
		want{purl: "pkg:hex/a_real@1.0.0", digests: 1, registry: "hexpm", alias: "a", problem: sbom.ProblemAlias, line: 2},
		want{purl: "pkg:hex/g", kind: sbom.KindGit, origin: "https://git.example.com/g.git"})
	res = parse(t, PubspecLock, "pubspec.lock", `packages:
  a:
    dependency: "direct main"
    description: {name: a, sha256: `+hex256+`, url: "https://pub.example.com"}
    source: hosted
    version: "1.0.0"
  flutter: {dependency: "direct main", description: flutter, source: sdk, version: "0.0.0"}
`, nil)
	check(t, res,
		want{purl: "pkg:pub/a@1.0.0", scope: rt, relation: dir, digests: 1, registry: "https://pub.example.com", line: 2},
		want{purl: "pkg:pub/flutter@0.0.0", kind: sbom.KindToolchain, scope: rt, relation: dir})
	res = parse(t, TerraformLock, ".terraform.lock.hcl", "# comment\nprovider \"registry.example.com/h/p\" {\n  version     = \"1.0.0\"\n  constraints = \">= 1.0\"\n  hashes = [\n    \"h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\",\n    \"zh:"+hex256+"\",\n  ]\n}\n", nil)
	check(t, res, want{purl: "pkg:terraform/registry.example.com/h/p@1.0.0", scope: dev, relation: dir, digests: 2, registry: "registry.example.com", line: 2})
	res = parse(t, SwiftResolved, "Package.resolved", `{"version":3,"pins":[{"identity":"a","kind":"remoteSourceControl","location":"https://git.example.com/o/a.git","state":{"revision":"`+commitA+`","version":"1.0.0"}}]}`, nil)
	check(t, res, want{purl: "pkg:swift/git.example.com/o/a@1.0.0", kind: sbom.KindGit, origin: "https://git.example.com/o/a.git"})
	res = parse(t, PodfileLock, "Podfile.lock", "PODS:\n  - A (1.0):\n    - A/Core (= 1.0)\n  - A/Core (1.0)\nDEPENDENCIES:\n  - A (~> 1.0)\nSPEC REPOS:\n  trunk: [A]\nSPEC CHECKSUMS:\n  A: "+commitA+"\nCOCOAPODS: 1.15.0\n", nil)
	check(t, res,
		want{purl: "pkg:cocoapods/A@1.0", scope: rt, relation: dir, digests: 1, registry: "trunk", problem: sbom.ProblemWeakDigest},
		want{purl: "pkg:cocoapods/A@1.0#Core", scope: rt, relation: trs, digests: 1, registry: "trunk", problem: sbom.ProblemWeakDigest})
	res = parse(t, CondaLock, "conda-lock.yml", "version: 1\npackage:\n- name: a\n  version: 1.0\n  manager: conda\n  url: https://conda.example.com/forge/linux-64/a-1.0-0.conda\n  hash: {md5: d41d8cd98f00b204e9800998ecf8427e, sha256: "+hex256+"}\n  category: main\n", nil)
	check(t, res, want{purl: "pkg:conda/a@1.0", scope: rt, digests: 2, registry: "https://conda.example.com/forge"})
}

func TestMatch(t *testing.T) {
	for p, f := range map[string]Format{
		"a/package-lock.json": PackageLock, "npm-shrinkwrap.json": PackageLock, "requirements-dev.txt": Requirements, "requirements/main.txt": Requirements,
		"dev-requirements.in": RequirementsIn, ".github/workflows/ci.yaml": Workflow, "x/.github/workflows/ci.yml": Workflow, "a/action.yml": Action,
		"Dockerfile.prod": Dockerfile, "docker-compose.override.yml": Compose, "compose.yaml": Compose, "vendor/modules.txt": GoVendor, "x.csproj": DotNetProject,
		"pylock.dev.toml": PyLock, "gradle/dependency-locks/compileClasspath.lockfile": GradleLock,
	} {
		if got, ok := Match(p); !ok || got != f {
			t.Errorf("%s: %q, want %q", p, got, f)
		}
	}
	for _, p := range []string{"modules.txt", "a.yml", "workflows/ci.yml", "composer.txt", "lock.json", "notes.txt"} {
		if f, ok := Match(p); ok {
			t.Errorf("%s is taken for %s", p, f)
		}
	}
	for _, f := range byName {
		if _, ok := readers(f); !ok {
			t.Errorf("no reader for %s", f)
		}
	}
	if !LooksLikeKubernetes("a.yaml", []byte("apiVersion: v1\nkind: Pod\n")) || LooksLikeKubernetes("a.yaml", []byte("kind: x\n")) || LooksLikeKubernetes("a.txt", []byte("apiVersion: v1\nkind: Pod\n")) {
		t.Error("Kubernetes manifests are not told from others")
	}
}
