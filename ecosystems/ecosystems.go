package ecosystems

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/cargo"
	"github.com/headgate/headgate/ecosystems/debian"
	"github.com/headgate/headgate/ecosystems/generic"
	"github.com/headgate/headgate/ecosystems/github"
	"github.com/headgate/headgate/ecosystems/golang"
	"github.com/headgate/headgate/ecosystems/helm"
	"github.com/headgate/headgate/ecosystems/maven"
	"github.com/headgate/headgate/ecosystems/npm"
	"github.com/headgate/headgate/ecosystems/nuget"
	"github.com/headgate/headgate/ecosystems/oci"
	"github.com/headgate/headgate/ecosystems/pypi"
	"github.com/headgate/headgate/ecosystems/rubygems"
	"github.com/headgate/headgate/ecosystems/upstream"
)

// Settings are what the user's environment and home say to all ecosystems. The
// scanned tree's files are never among them.
type Settings struct {
	Go    golang.Environment
	NPM   npm.Config
	PyPI  pypi.Config
	Cargo cargo.Config
	Gems  rubygems.Config
	Maven maven.Config
	NuGet nuget.Config
	Helm  helm.Config
	// Debian are the archives of Debian and Ubuntu.
	Debian debian.Config
	OCI    oci.Config
	// GitHub is the forge of actions and release assets.
	GitHub github.Config
	// Netrc is the user's .netrc.
	Netrc upstream.Credentials
}

// SettingsOf reads the settings: getenv and environ ("KEY=value" entries) are
// the user's environment, home is the user's home directory, empty for none. A
// setting that cannot be understood is an error that names the ecosystem.
func SettingsOf(getenv func(string) string, environ []string, home string) (Settings, error) {
	var (
		s   Settings
		err error
	)
	if s.Go, err = golang.EnvFromOS(getenv, home); err != nil {
		return Settings{}, fmt.Errorf("settings of Go: %w", err)
	}
	if s.NPM, err = npm.ConfigFromEnv(getenv, home); err != nil {
		return Settings{}, fmt.Errorf("settings of npm: %w", err)
	}
	if s.PyPI, err = pypi.ConfigFromEnv(getenv, home); err != nil {
		return Settings{}, fmt.Errorf("settings of PyPI: %w", err)
	}
	if s.Cargo, err = cargo.ConfigFromEnv(getenv, environ, home); err != nil {
		return Settings{}, fmt.Errorf("settings of Cargo: %w", err)
	}
	if s.Gems, err = rubygems.ConfigFromEnv(getenv, environ, home); err != nil {
		return Settings{}, fmt.Errorf("settings of RubyGems: %w", err)
	}
	if s.OCI, err = oci.ConfigFromEnv(getenv, home); err != nil {
		return Settings{}, fmt.Errorf("settings of container images: %w", err)
	}
	if s.Debian, err = debian.ConfigFromEnv(getenv); err != nil {
		return Settings{}, fmt.Errorf("settings of Debian: %w", err)
	}
	if s.GitHub, err = github.ConfigFromEnv(getenv); err != nil {
		return Settings{}, fmt.Errorf("settings of GitHub: %w", err)
	}
	if s.Maven, err = maven.ConfigFromEnv(getenv, home); err != nil {
		return Settings{}, fmt.Errorf("settings of Maven: %w", err)
	}
	if s.NuGet, err = nuget.ConfigFromEnv(getenv, home); err != nil {
		return Settings{}, fmt.Errorf("settings of NuGet: %w", err)
	}
	if s.Helm, err = helm.ConfigFromEnv(getenv, home); err != nil {
		return Settings{}, fmt.Errorf("settings of Helm: %w", err)
	}
	netrc := getenv("NETRC")
	if netrc == "" && home != "" {
		netrc = filepath.Join(home, ".netrc")
	}
	s.Netrc = upstream.Scopes(nil)
	if netrc != "" {
		if s.Netrc, err = upstream.LoadNetrc(netrc); err != nil {
			return Settings{}, err
		}
	}
	return s, nil
}

// Credentials are those of all ecosystems for upstream.Config, .netrc last.
func (s Settings) Credentials() []upstream.Credentials {
	return []upstream.Credentials{s.Go.Credentials, s.NPM.Credentials, s.PyPI.Credentials, s.Cargo.Credentials, s.Gems.Credentials, s.Maven.Credentials, s.NuGet.Credentials, s.Helm.Credentials, s.GitHub.Credentials, s.Netrc}
}

// Insecure are the hosts that the user's own settings reach by plain http.
func (s Settings) Insecure() []string {
	return slices.Concat(s.NPM.Insecure, s.Maven.Insecure, s.NuGet.Insecure, s.Helm.Insecure, s.Debian.Insecure)
}

// Intervals are the least times between two requests to public hosts whose rules
// ask for them. RubyGems answers ten requests a second
// (https://guides.rubygems.org/rubygems-org-rate-limits/); the other registries
// state no number and say by their answers when it is too much.
func (s Settings) Intervals() map[string]time.Duration {
	out := map[string]time.Duration{}
	if u, err := url.Parse(rubygems.DefaultSource); err == nil {
		out[u.Host] = 100 * time.Millisecond
	}
	return out
}

// Notes are settings of the user's that headgate does not follow, in sentences.
func (s Settings) Notes() []string {
	return slices.Concat(s.Go.Notes, s.Maven.Notes, s.NuGet.Notes, s.Helm.Notes, s.OCI.Notes)
}

// Config is the outside world of the adapters.
type Config struct {
	Getter   upstream.Getter
	Clock    adapter.Clock
	State    adapter.State
	Settings Settings
	// KeysMaps say which keys sign which Maven artifacts; nil for no demand.
	KeysMaps []*maven.KeysMap
	// Materials hands out key material that was pinned; nil for none.
	Materials adapter.Materials
	// NPM hands out the keys and the root that npm's evidence is verified with.
	NPM func() npm.Trust
	// Downloads are the plain downloads of the policy that counts, with what is
	// expected of them.
	Downloads []generic.Download
	// Sigstore hands out the verifier of the Sigstore instance that vouches for a package.
	Sigstore adapter.Verifiers
}

// List is the adapters, in the order in which they are shown.
type List []adapter.Adapter

// All makes every adapter. Nil parts of the configuration are errors: an adapter
// that cannot run must not look like one that found nothing.
func All(cfg Config) (List, error) {
	if cfg.Getter == nil || cfg.Clock == nil || cfg.State == nil || cfg.NPM == nil || cfg.Sigstore == nil {
		return nil, errors.New("adapters need an upstream client, a clock, trust state and trust material")
	}
	g, err := golang.New(golang.Config{Getter: cfg.Getter, State: cfg.State, Env: cfg.Settings.Go})
	if err != nil {
		return nil, fmt.Errorf("adapter of Go: %w", err)
	}
	n, err := npm.New(npm.Options{Get: cfg.Getter, Clock: cfg.Clock, Config: cfg.Settings.NPM, Trust: cfg.NPM})
	if err != nil {
		return nil, fmt.Errorf("adapter of npm: %w", err)
	}
	d, err := debian.New(debian.Options{Get: cfg.Getter, Clock: cfg.Clock, State: cfg.State, Config: cfg.Settings.Debian, Materials: cfg.Materials})
	if err != nil {
		return nil, fmt.Errorf("adapter of Debian: %w", err)
	}
	hub := github.Options{Get: cfg.Getter, Clock: cfg.Clock, Config: cfg.Settings.GitHub, Public: cfg.Sigstore}
	switch file := cfg.Settings.GitHub.RootFile; {
	case file != "":
		if hub.GitHub, err = github.RootFile(file, cfg.Clock); err != nil {
			return nil, fmt.Errorf("adapter of GitHub: %w", err)
		}
	case cfg.Materials != nil:
		hub.GitHub = github.PinnedRoot(cfg.Materials, cfg.Clock)
	}
	gh, err := github.New(hub)
	if err != nil {
		return nil, fmt.Errorf("adapter of GitHub: %w", err)
	}
	mvn, err := maven.New(maven.Options{Get: cfg.Getter, Clock: cfg.Clock, Config: cfg.Settings.Maven, Materials: cfg.Materials, KeysMaps: cfg.KeysMaps, Sigstore: cfg.Sigstore})
	if err != nil {
		return nil, fmt.Errorf("adapter of Maven: %w", err)
	}
	dl, err := generic.New(generic.Options{Get: cfg.Getter, Clock: cfg.Clock, Downloads: cfg.Downloads, Sigstore: cfg.Sigstore, Materials: cfg.Materials})
	if err != nil {
		return nil, fmt.Errorf("adapter of downloads: %w", err)
	}
	ng, err := nuget.New(nuget.Options{Get: cfg.Getter, Clock: cfg.Clock, Config: cfg.Settings.NuGet, Materials: cfg.Materials, Roots: nuget.SystemRoots})
	if err != nil {
		return nil, fmt.Errorf("adapter of NuGet: %w", err)
	}
	hm, err := helm.New(helm.Options{Get: cfg.Getter, Clock: cfg.Clock, Config: cfg.Settings.Helm, Materials: cfg.Materials})
	if err != nil {
		return nil, fmt.Errorf("adapter of Helm: %w", err)
	}
	return List{
		g, n,
		pypi.New(cfg.Getter, cfg.Settings.PyPI, cfg.Sigstore),
		cargo.New(cfg.Getter, cfg.Settings.Cargo),
		rubygems.New(rubygems.Options{Get: cfg.Getter, Config: cfg.Settings.Gems, Sigstore: cfg.Sigstore, Materials: cfg.Materials, Clock: cfg.Clock}),
		mvn,
		ng,
		hm,
		d,
		oci.New(oci.Options{Get: cfg.Getter, Config: cfg.Settings.OCI, Root: cfg.Sigstore, Materials: cfg.Materials}),
		gh,
		dl,
	}, nil
}

// For returns the adapter of a purl type, or nil; Unsupported says why there is
// none.
func (l List) For(purlType string) adapter.Adapter {
	for _, a := range l {
		for _, t := range a.Describe().Types {
			if t == purlType {
				return a
			}
		}
	}
	return nil
}

// ByType returns the adapters by purl type.
func (l List) ByType() map[string]adapter.Adapter {
	m := map[string]adapter.Adapter{}
	for _, a := range l {
		for _, t := range a.Describe().Types {
			m[t] = a
		}
	}
	return m
}

// unsupported says per purl type why nothing is verified and what can be pinned
// all the same.
var unsupported = map[string]string{
	"rpm":              "packages are signed by the distribution, which headgate does not verify yet; digests can be pinned",
	"apk":              "the index is signed by the distribution, which headgate does not verify yet; digests can be pinned",
	"alpm":             "packages are signed by their packagers, which headgate does not verify yet; digests can be pinned",
	"hex":              "the registry signs each package's list of releases, which headgate does not verify yet; the outer checksum of mix.lock can be pinned",
	"conda":            "few channels publish attestations, which headgate does not verify yet; the SHA-256 of an explicit lock file can be pinned",
	"swift":            "nearly all packages are git tags without signatures; the revision of Package.resolved can be pinned",
	"composer":         "the registry signs nothing and archives are not stable byte for byte; the commit of composer.lock can be pinned",
	"pub":              "the registry signs nothing; the SHA-256 of pubspec.lock can be pinned",
	"cocoapods":        "specifications are not signed, and Podfile.lock has SHA-1 checksums alone; the commit or archive digest of each source can be pinned",
	"hackage":          "the index is signed by TUF, which headgate does not verify yet; index state and digests can be pinned",
	"luarocks":         "rocks are rarely signed, and the server binds no key to a name; the digest of each rock can be pinned",
	"nix":              "the binary cache's key signs store paths, which headgate does not verify yet; the commit and hash of flake.lock can be pinned",
	"huggingface":      "model files are not signed as a rule; the commit of the repository can be pinned, or each file as a plain download with its digest",
	"wordpress":        "plugins and themes are not signed; the digest of each archive can be pinned",
	"wordpress-plugin": "plugins and themes are not signed; the digest of each archive can be pinned",
	"vcpkg":            "ports are recipes in a git repository that name the digest of each archive; the baseline commit of vcpkg.json can be pinned",
	"homebrew":         "bottles are attested by the project's workflow, which headgate does not verify yet; the digest of each bottle can be pinned",
	"cpan":             "releases carry checksum files of the archive network, which headgate does not verify yet; digests can be pinned",
	"terraform":        "providers are signed by their publishers' keys, which headgate does not verify yet; the hashes of .terraform.lock.hcl can be pinned",
	"bitnami":          "components are taken into the vendor's images and not signed for themselves; the digest of the image can be pinned",
	"portage":          "the tree of recipes is signed, which headgate does not verify yet; the commit of the tree can be pinned",
	"opam":             "packages are archives with checksums in a git repository of recipes; the commit of that repository can be pinned",
	"otp":              "applications are a part of the Erlang runtime; trust the runtime by the package or image that it came in, whose digest can be pinned",
	"swiplpack":        "packs are archives without signatures; digests can be pinned",
	"pear":             "packages are rarely signed; digests can be pinned",
	"cran":             "packages are not signed; digests can be pinned",
	"conan":            "recipes and packages are not signed by default; revisions can be pinned",
	"bitbucket":        "the source is a git commit without registry; the full commit hash can be pinned",
	"gitlab":           "the source is a git commit without registry; the full commit hash can be pinned",
}

// Unsupported says in one sentence why components of a purl type without an
// adapter are held, and what can be pinned.
func Unsupported(purlType string) string {
	if s, ok := unsupported[purlType]; ok {
		return s
	}
	return "headgate does not know this ecosystem; the digest of each artifact can be pinned by an approval"
}
