package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ecosystems/npm"
	"github.com/headgate/headgate/ecosystems/sigroot"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/policies/advisories"
	"github.com/headgate/headgate/trust/sigstore"
)

func (c *Command) advisoryDir() (string, error) {
	dir, err := c.xdg("XDG_DATA_HOME", ".local/share")
	return filepath.Join(dir, "advisories"), err
}

func (c *Command) advisoryStatus(ss []advisories.Status) {
	for _, s := range ss {
		line := fmt.Sprintf("advisories of %s: %d records, %s old", report.Clean(s.Ecosystem), s.Records, age(s.Age))
		if s.Problem != "" {
			line += ": " + report.Clean(s.Problem)
		}
		fmt.Fprintln(c.Stdout, line)
	}
}

// importRoots takes trust roots from a folder: by TUF where it holds a TUF
// repository, else as the plain files that the user put there.
func (c *Command) importRoots(st *sigroot.Store, dir string) (sigroot.Material, error) {
	for _, f := range []string{"timestamp.json", "metadata/timestamp.json"} {
		if _, err := os.Lstat(filepath.Join(dir, f)); err == nil {
			return st.Import(filepath.Dir(filepath.Join(dir, f)))
		}
	}
	path := filepath.Join(dir, "trusted_root.json")
	root, err := readSmall(path)
	if err == nil && root == nil {
		err = fmt.Errorf("%s holds neither a TUF repository (timestamp.json) nor trusted_root.json", dir)
	}
	if err != nil {
		return sigroot.Material{}, err
	}
	fi, err := os.Stat(path)
	if err != nil {
		return sigroot.Material{}, err
	}
	m := sigroot.Material{TrustedRoot: root, Obtained: fi.ModTime()}
	if _, err := sigstore.LoadTrustedRoot(root, sigstore.RootOptions{Obtained: m.Obtained, Now: c.now()}); err != nil {
		return sigroot.Material{}, fmt.Errorf("%s: %w", path, err)
	}
	for _, name := range []string{"npm-keys.json", "keys.json"} {
		if m.NPMKeys, err = readSmall(filepath.Join(dir, name)); err != nil {
			return sigroot.Material{}, err
		}
		if m.NPMKeys == nil {
			continue
		}
		if _, err := sigstore.ParseNPMKeys(m.NPMKeys); err != nil {
			return sigroot.Material{}, fmt.Errorf("%s: %w", name, err)
		}
		break
	}
	if m.SigningConfig, err = readSmall(filepath.Join(dir, "signing_config.v0.2.json")); err != nil {
		return sigroot.Material{}, err
	}
	if err := st.Adopt(m); err != nil {
		return sigroot.Material{}, err
	}
	fmt.Fprintln(c.Stdout, "taken as plain files: nothing but your word vouches for them")
	return m, nil
}

func (c *Command) dbCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "db", Short: "Trust roots and advisories: status, update",
		Example: "  headgate db status\n  headgate db update\n  headgate db update --from DIR     without network, from a copy of the TUF repository",
	}
	o := &options{}
	var mirror, instance string
	roots := func(get upstream.Getter) (*sigroot.Store, error) {
		dir, err := c.xdg("XDG_DATA_HOME", ".local/share")
		if err != nil {
			return nil, err
		}
		return sigroot.New(sigroot.Options{Dir: filepath.Join(dir, "sigstore"), Get: get, URL: mirror, NPMKeys: npmKeysTarget(npm.DefaultRegistry), Clock: c.Clock})
	}
	show := func(m sigroot.Material) error {
		r, err := sigstore.LoadTrustedRoot(m.TrustedRoot, sigstore.RootOptions{Obtained: m.Obtained, Now: c.now()})
		if err != nil {
			return &exitError{code: ingest.ExitUndecided, err: err, hint: "headgate db update"}
		}
		fmt.Fprintf(c.Stdout, "trusted root %s, last verified %s (%s ago)\n", r.Info().Digest, m.Obtained.UTC().Format(time.RFC3339), age(c.now().Sub(m.Obtained)))
		if len(m.NPMKeys) > 0 {
			k, err := sigstore.ParseNPMKeys(m.NPMKeys)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Stdout, "npm keys %s\n", k.Digest())
		}
		return nil
	}
	status := &cobra.Command{
		Use: "status", Short: "Show which trust roots are at hand, and how old", Args: operands(0, 0),
		Example: "  headgate db status",
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := c.advisoryDir()
			if err != nil {
				return err
			}
			ss, err := advisories.Open(dir, 0).Status(cmd.Context(), c.now())
			if err != nil {
				return err
			}
			c.advisoryStatus(ss)
			if err := c.kevStatus(); err != nil {
				return err
			}
			st, err := roots(nil)
			if err != nil {
				return err
			}
			i, err := c.configured(o)
			if err != nil {
				return err
			}
			own := i.status(cmd.Context())
			m, err := st.Load()
			if err != nil {
				return &exitError{code: ingest.ExitUndecided, err: err, hint: "without network: headgate db update --from DIR, or --trusted-root FILE with each command"}
			}
			if err := show(m); err != nil {
				return err
			}
			return own
		},
	}
	var from, archives, only string
	var wanted []string
	update := &cobra.Command{
		Use: "update", Short: "Bring the trust roots up to date by TUF", Args: operands(0, 0),
		Long: `update fetches Sigstore's trusted root and npm's keys by TUF, and the roots of the
private Sigstore instances that headgate.yaml names. --from DIR takes them
from a folder instead: a copy of the TUF repository, which is verified as if it came
from the network, or the plain files trusted_root.json and npm-keys.json (or
keys.json), which you vouch for and whose age counts from their time of change.`,
		Example: "  headgate db update\n  headgate db update --from /media/tuf-copy",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if archives != "" {
				dir, err := c.advisoryDir()
				if err != nil {
					return err
				}
				ss, err := advisories.Open(dir, 0).Update(cmd.Context(), archives, c.now())
				c.advisoryStatus(ss)
				if err != nil {
					return &exitError{code: ingest.ExitUndecided, err: err}
				}
				return nil
			}
			if instance != "" {
				return c.updateInstance(cmd.Context(), o, instance, from)
			}
			if from != "" {
				st, err := roots(nil)
				if err != nil {
					return err
				}
				m, err := c.importRoots(st, from)
				if err != nil {
					return &exitError{code: ingest.ExitUndecided, err: err}
				}
				return show(m)
			}
			if only != "" && only != "roots" && only != "advisories" {
				return usage("--only %s: it is roots or advisories", only)
			}
			if only == "advisories" {
				return c.updateAdvisories(cmd.Context(), wanted)
			}
			client, err := c.upstreamClient()
			if err != nil {
				return err
			}
			st, err := roots(client)
			if err != nil {
				return err
			}
			m, err := st.Refresh(cmd.Context())
			if err != nil {
				return &exitError{code: ingest.ExitUndecided, err: err, hint: "without network: headgate db update --from DIR, a copy of the TUF repository; advisories alone: headgate db update --only advisories"}
			}
			if err := show(m); err != nil {
				return err
			}
			if err := c.updateInstance(cmd.Context(), o, "", ""); err != nil || only == "roots" {
				return err
			}
			return c.updateAdvisories(cmd.Context(), wanted)
		},
	}
	update.Flags().StringVar(&from, "from", "", "folder with a copy of the TUF repository, or with trusted_root.json and npm-keys.json, instead of the network")
	update.Flags().StringVar(&mirror, "mirror", "", "mirror of the TUF repository; it is verified like the original")
	update.Flags().StringVar(&instance, "instance", "", "only this private Sigstore instance of headgate.yaml")
	for _, sub := range []*cobra.Command{status, update} {
		sub.Flags().StringVar(&o.config, "config", "", "configuration instead of the headgate.yaml of this directory")
	}
	update.Flags().StringVar(&archives, "advisories", "", "folder with OSV archives (ECOSYSTEM/all.zip) to build the advisory index from, without network")
	update.Flags().StringVar(&only, "only", "", "roots or advisories, instead of both")
	update.Flags().StringSliceVar(&wanted, "ecosystem", nil, "OSV ecosystem whose advisories are fetched (npm, PyPI, Go, Debian, ...); default: those at hand, or those of language registries")
	cmd.AddCommand(status, update)
	return cmd
}
