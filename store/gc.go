package store

import (
	"context"
	"fmt"
)

// Collected says what GC dropped.
type Collected struct {
	Evidence int64 // pieces of evidence
	Blobs    int64 // judged documents
	Before   int64 // bytes of the file before
	After    int64 // and after
}

// GC drops evidence on which neither a decision nor a request rests, bytes that
// nothing refers to, and gives the space back. Decisions, the log, pins and
// signers are never dropped.
func (s *Store) GC(ctx context.Context) (Collected, error) {
	var c Collected
	size := func() (int64, error) {
		var pages, bytes int64
		err := s.r.QueryRowContext(ctx, "SELECT page_count, page_size FROM pragma_page_count(), pragma_page_size()").Scan(&pages, &bytes)
		return pages * bytes, s.wrap("measuring", err)
	}
	var err error
	if c.Before, err = size(); err != nil {
		return c, err
	}
	err = s.write(ctx, "collecting garbage in", func(w *writeTx) error {
		drop := func(n *int64, q string) error {
			res, err := w.tx.ExecContext(ctx, q)
			if err == nil {
				*n, err = res.RowsAffected()
			}
			return err
		}
		if err := drop(&c.Evidence, `DELETE FROM evidence AS e
WHERE NOT EXISTS (SELECT 1 FROM evidence_use u JOIN decision d ON d.leaf = u.leaf WHERE u.evidence = e.digest)
  AND e.id NOT IN (SELECT j.value FROM request r, json_each(r.body, '$.evidence') j)`); err != nil {
			return fmt.Errorf("dropping evidence: %w", err)
		}
		if err := s.at("gc"); err != nil {
			return err
		}
		if err := drop(&c.Blobs, `DELETE FROM blob AS b
WHERE NOT EXISTS (SELECT 1 FROM evidence_blob e WHERE e.blob = b.digest)
  AND NOT EXISTS (SELECT 1 FROM decision d WHERE d.input = b.digest)
  AND NOT EXISTS (SELECT 1 FROM alarm a WHERE a.proof = b.digest)`); err != nil {
			return fmt.Errorf("dropping bytes: %w", err)
		}
		return nil
	})
	if err != nil {
		return c, err
	}
	if _, err := s.w.ExecContext(ctx, "VACUUM"); err != nil {
		return c, s.wrap("giving back space of", err)
	}
	c.After, err = size()
	return c, err
}
