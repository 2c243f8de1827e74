package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/audit"
	"github.com/headgate/headgate/store"
)

func (c *Command) whereCommand() *cobra.Command {
	o := &options{}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "where PURL",
		Short: "List the audited sources that use a release, or a range of releases",
		Long: `where answers "who uses this?" from what was audited: every source that held the
release, or a release of the range, when it was audited last, and since when.
Versions are compared in the order of their ecosystem.

Exit codes: 0 used somewhere, 3 usage or configuration, 4 internal error, 5 used nowhere.`,
		Example: `  headgate where pkg:npm/left-pad@1.3.0
  headgate where 'pkg:npm/axios@<1.14.2'
  headgate where 'pkg:golang/golang.org/x/net@>=0.10.0,<0.38.0'`,
		Args: operands(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := audit.ParseRange(args[0])
			if err != nil {
				return &exitError{code: ingest.ExitUsage, err: err, hint: "headgate where 'pkg:npm/axios@<1.14.2'"}
			}
			return c.withStore(cmd.Context(), o, func(s *store.Store) error {
				found, doubtful, err := audit.Where(cmd.Context(), s, g)
				if err != nil {
					return err
				}
				if asJSON {
					if found == nil {
						found = []store.Use{}
					}
					if err := printJSON(c, map[string]any{"uses": found, "doubtful": doubtful}); err != nil {
						return err
					}
				} else {
					c.uses(found, "")
					c.uses(doubtful, "  (its version cannot be compared with the range)")
				}
				if len(found)+len(doubtful) == 0 {
					if !asJSON {
						fmt.Fprintf(c.Stdout, "no audited source uses %s\n", cleanLine(args[0]))
					}
					return stopped(ingest.ExitNothing)
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	o.storeFlag(cmd)
	return cmd
}

func (c *Command) uses(us []store.Use, note string) {
	for _, u := range us {
		fmt.Fprintf(c.Stdout, "%s  %s  since %s, audited %s%s\n", cleanLine(u.Source), cleanLine(u.Release.PURL()),
			u.Since.UTC().Format(time.DateOnly), u.Audited.UTC().Format(time.DateOnly), note)
	}
}
