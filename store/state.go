package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"

	"github.com/headgate/headgate/trust"
)

// Load returns the value that an adapter keeps under key, or nil.
func (s *Store) Load(ctx context.Context, key string) ([]byte, error) {
	var body []byte
	err := s.r.QueryRowContext(ctx, "SELECT body FROM state WHERE id = ?", key).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	var v stateBody
	if err == nil {
		err = strict(body, &v)
	}
	if err == nil && v.Key != key {
		err = fmt.Errorf("%w: state %s was altered", ErrTampered, short(key))
	}
	return v.Value, s.wrap("reading", err)
}

// Swap replaces the value under key if it is old, and reports false without
// writing if it is not. A nil old means that there must be none.
func (s *Store) Swap(ctx context.Context, key string, old, new []byte) (bool, error) {
	if key == "" || len(key) > MaxText || len(new) > MaxState {
		return false, fmt.Errorf("state %q of %d bytes: key must have 1 to %d bytes, value at most %d", short(key), len(new), MaxText, MaxState)
	}
	if new == nil {
		new = []byte{}
	}
	swapped := false
	err := s.write(ctx, "keeping state in", func(w *writeTx) error {
		var v stateBody
		was, err := w.current("state", key, &v)
		if err != nil {
			return err
		}
		if was < 0 != (old == nil) || !bytes.Equal(v.Value, old) {
			return nil
		}
		swapped = true
		if was >= 0 && bytes.Equal(v.Value, new) {
			return nil
		}
		l := Leaf{Kind: "state", Op: "set", ID: key}
		if was < 0 {
			_, err = w.insert(l, stateBody{Key: key, Value: new})
		} else {
			_, err = w.replace(l, stateBody{Key: key, Value: new}, was)
		}
		return err
	})
	return swapped && err == nil, err
}

// Alarm records misbehaviour of an upstream with its proof.
func (s *Store) Alarm(ctx context.Context, about, detail string, proof []byte) error {
	if err := text("what the alarm is about", about); err != nil {
		return err
	}
	if len(detail) > MaxBody/8 {
		return fmt.Errorf("detail of the alarm about %s has %d bytes, more than %d", short(about), len(detail), MaxBody/8)
	}
	return s.write(ctx, "recording an alarm in", func(w *writeTx) error {
		key, err := w.blob(proof)
		if err != nil {
			return err
		}
		id, err := newID("w-", 6)
		if err != nil {
			return err
		}
		var d [sha256.Size]byte
		copy(d[:], key)
		_, err = w.insert(Leaf{Kind: "alarm", Op: "raise", ID: id, Detail: short(about)},
			Alarm{ID: id, About: about, Detail: detail, Proof: trust.DigestOf(trust.SHA256, d[:]), At: w.now})
		return err
	})
}

// Alarms returns all alarms, newest first.
func (s *Store) Alarms(ctx context.Context) ([]Alarm, error) {
	var out []Alarm
	err := each(ctx, s.r, "SELECT body FROM alarm ORDER BY leaf DESC", nil, func(rows *sql.Rows) error {
		var body []byte
		var a Alarm
		if err := rows.Scan(&body); err != nil {
			return err
		}
		err := strict(body, &a)
		out = append(out, a)
		return err
	})
	return out, s.wrap("reading alarms of", err)
}
