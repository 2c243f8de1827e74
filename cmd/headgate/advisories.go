package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/ecosystems"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/names"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/policies/advisories"
	"github.com/headgate/headgate/trust"
)

// Environment variables that name mirrors of advisories.
const (
	// ArchivesEnv is the base URL of OSV's archives, <ecosystem>/all.zip each.
	ArchivesEnv = "HEADGATE_OSV_ARCHIVES"
	// APIEnv is the base URL of OSV's API.
	APIEnv = "HEADGATE_OSV_API"
	// KEVEnv is the URL of the catalogue of known exploited vulnerabilities; "off"
	// for none.
	KEVEnv = "HEADGATE_KEV"
)

// kevFile is the catalogue of exploited vulnerabilities beside the index.
const kevFile = "kev.json"

// languageEcosystems are fetched where no advisories are at hand yet.
var languageEcosystems = []string{"npm", "PyPI", "Go", "crates.io", "Maven", "NuGet", "RubyGems", "Packagist"}

// advisories returns the source that the configuration names; nil for none.
func (c *Command) advisories(o *options, set *setting) (ingest.Advisories, error) {
	cfg := set.policy.Config().Advisories
	if cfg.Source == "" || cfg.Source == "off" {
		return nil, nil
	}
	dir, err := c.advisoryDir()
	if err != nil {
		return nil, err
	}
	kev, err := readKEV(dir)
	if err != nil {
		return nil, &exitError{code: ingest.ExitUndecided, err: err, hint: "headgate db update --only advisories"}
	}
	if kev == nil && c.Getenv(KEVEnv) != "off" {
		set.notes = append(set.notes, "which vulnerabilities are known to be exploited is not at hand: headgate db update --only advisories")
	}
	var src ingest.Advisories
	if cfg.Source == "online" {
		web, err := c.web(o.offline)
		if err != nil {
			return nil, err
		}
		internal := set.policy.Config().Policy.InternalNamespaces
		api := advisories.NewOnline(web, c.Getenv(APIEnv), kev)
		api.AsOf(o.asOf)
		src = ingest.OnlineAdvisories{API: api, Ours: func(p trust.Package) bool {
			_, ok := names.Internal(internal, p)
			return ok
		}}
	} else {
		var age time.Duration
		if cfg.MaxAge != nil {
			age = time.Duration(*cfg.MaxAge)
		}
		ix := advisories.Open(dir, age)
		ix.SetKEV(kev)
		ix.AsOf(o.asOf, c.Clock())
		src = ix
	}
	ss, err := set.suppressions()
	if err != nil {
		return nil, err
	}
	if len(ss) == 0 {
		return src, nil
	}
	return ingest.SuppressedAdvisories{Advisories: src, Suppressions: ss}, nil
}

// suppressions reads the VEX documents and the osv-scanner.toml that the
// configuration names, from the same place as the configuration: a change
// cannot set its own advisories aside. A file that is missing is an error.
func (s *setting) suppressions() ([]advisories.Suppression, error) {
	cfg := s.policy.Config().Advisories
	var out []advisories.Suppression
	add := func(name string, parse func([]byte) ([]advisories.Suppression, error)) error {
		if !filepath.IsLocal(filepath.FromSlash(name)) || path.Clean(name) != name {
			return usage("%s: %q is no path inside the repository", s.origin, name)
		}
		data, err := s.read(name)
		if err == nil && data == nil {
			err = os.ErrNotExist
		}
		if err == nil && len(data) > advisories.MaxDocument {
			err = fmt.Errorf("more than %d bytes", advisories.MaxDocument)
		}
		var ss []advisories.Suppression
		if err == nil {
			ss, err = parse(data)
		}
		if err != nil {
			return usage("%s names %s, which sets advisories aside: %w", s.origin, name, err)
		}
		out = append(out, ss...)
		return nil
	}
	for _, v := range cfg.VEX {
		if err := add(v, advisories.ParseVEX); err != nil {
			return nil, err
		}
	}
	if cfg.OSVScanner != "" {
		if err := add(cfg.OSVScanner, advisories.ParseOSVScanner); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func readKEV(dir string) (map[string]bool, error) {
	f, err := os.Open(filepath.Join(dir, kevFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, advisories.MaxKEV+1))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && len(b) > advisories.MaxKEV {
		err = fmt.Errorf("more than %d bytes", advisories.MaxKEV)
	}
	if err != nil {
		return nil, fmt.Errorf("the catalogue of exploited vulnerabilities: %w", err)
	}
	return advisories.ParseKEV(b)
}

func (c *Command) kevStatus() error {
	dir, err := c.advisoryDir()
	if err != nil {
		return err
	}
	fi, err := os.Stat(filepath.Join(dir, kevFile))
	if errors.Is(err, os.ErrNotExist) {
		fmt.Fprintln(c.Stdout, "known exploited vulnerabilities: none at hand")
		return nil
	}
	if err != nil {
		return err
	}
	kev, err := readKEV(dir)
	if err != nil {
		return &exitError{code: ingest.ExitUndecided, err: err, hint: "headgate db update --only advisories"}
	}
	fmt.Fprintf(c.Stdout, "known exploited vulnerabilities: %d, %s old\n", len(kev), age(c.now().Sub(fi.ModTime())))
	return nil
}

func (c *Command) web(offline bool) (*ingest.Web, error) {
	hosts, err := c.insecure()
	if err != nil {
		return nil, err
	}
	settings, err := ecosystems.SettingsOf(c.Getenv, c.Environ, c.Home)
	if err != nil {
		return nil, &exitError{code: ingest.ExitUsage, err: err}
	}
	return ingest.NewWeb("headgate/"+c.Version, slices.Concat(hosts, settings.Insecure()), offline), nil
}

// updateAdvisories fetches the archives of the ecosystems and rebuilds their
// databases, each at once or not at all. What fails leaves the others alone.
func (c *Command) updateAdvisories(ctx context.Context, wanted []string) error {
	dir, err := c.advisoryDir()
	if err != nil {
		return err
	}
	web, err := c.web(false)
	if err != nil {
		return err
	}
	ix := advisories.Open(dir, 0)
	if len(wanted) == 0 {
		ss, err := ix.Status(ctx, c.now())
		if err != nil {
			return err
		}
		for _, s := range ss {
			wanted = append(wanted, s.Ecosystem)
		}
		if len(wanted) == 0 {
			wanted = languageEcosystems
		}
	}
	all := advisories.Ecosystems()
	for _, e := range wanted {
		if !slices.Contains(all, e) {
			slices.Sort(all)
			return usage("--ecosystem %q: it is one of %s", e, strings.Join(slices.Compact(all), ", "))
		}
	}
	base := c.Getenv(ArchivesEnv)
	if base == "" {
		base = advisories.DefaultArchives
	}
	var errs []error
	for _, e := range wanted {
		file, err := advisories.Download(ctx, web, base, e, filepath.Join(dir, "archives"))
		if err == nil {
			var ss []advisories.Status
			ss, err = ix.UpdateFile(ctx, file, e, c.now())
			c.advisoryStatus(ss)
			// The archive is in the index now, or is not fit for it: neither needs the file.
			err = errors.Join(err, os.Remove(file))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		errs = append(errs, err)
	}
	errs = append(errs, c.updateKEV(ctx, web, dir))
	if err := errors.Join(errs...); err != nil {
		return &exitError{code: ingest.ExitUndecided, err: err, hint: "without network: headgate db update --advisories DIR, with ECOSYSTEM/all.zip"}
	}
	return nil
}

func (c *Command) updateKEV(ctx context.Context, web *ingest.Web, dir string) error {
	u := c.Getenv(KEVEnv)
	switch u {
	case "off":
		return nil
	case "":
		u = advisories.DefaultKEV
	}
	b, err := web.Get(ctx, u)
	if err == nil {
		_, err = advisories.ParseKEV(b)
	}
	if err != nil {
		return fmt.Errorf("known exploited vulnerabilities: %w", err)
	}
	return report.Durable(filepath.Join(dir, kevFile), 0o644, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}
