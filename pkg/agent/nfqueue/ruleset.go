//go:build linux

package nfqueue

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ruleset reads and changes our tables over one connection. It is not safe for
// concurrent use.
type ruleset struct {
	families []family
	conn     *nftConn // nil before the first use and after an error
	// known is what our tables held at a generation of the pod's rules. The kernel
	// raises that number with every transaction, whoever makes it.
	known      tables // nil if nothing is known
	generation uint32
}

// read reads our tables from the kernel. The error wraps fault.ErrForeign if a
// table, chain or rule in there is not ours.
func (r *ruleset) read() (tables, error) {
	var found tables
	err := r.do(func(conn *nftConn) error {
		before, err := conn.generation()
		if err != nil {
			return err
		}
		if found, err = readTables(conn); err != nil {
			return fmt.Errorf("read nftables table %q: %w", tableName, err)
		}
		after, err := conn.generation()
		if err != nil {
			return err
		}
		r.known = nil
		if after == before {
			r.known, r.generation = found, after
		}
		return nil
	})
	return found, err
}

// current is read, but returns what is known if no rule of the pod was changed
// since. What counters have counted is then out of date.
func (r *ruleset) current() (tables, error) {
	unchanged := false
	err := r.do(func(conn *nftConn) error {
		now, err := conn.generation()
		unchanged = err == nil && now == r.generation && r.known != nil
		return err
	})
	if err != nil || unchanged {
		return r.known, err
	}
	return r.read()
}

// write makes our tables, which are what was found, the wanted ones in one
// transaction. It returns what the kernel holds then.
func (r *ruleset) write(found, want tables) (tables, error) {
	requests, before, isKnown := want.changes(found), r.generation, r.known != nil
	var now tables
	err := r.do(func(conn *nftConn) error {
		returned, err := conn.commit(requests)
		if err != nil {
			return err
		}
		after, err := conn.generation()
		if err != nil || !isKnown || after != before+1 {
			return err // somebody else made a change too
		}
		if known, ok := found.replaced(requests, returned); ok {
			r.known, r.generation, now = known, after, known
		}
		return nil
	})
	if err != nil || now != nil {
		return now, err
	}
	return r.read()
}

// commit carries out a transaction.
func (r *ruleset) commit(requests []nftMessage) error {
	return r.do(func(conn *nftConn) error {
		_, err := conn.commit(requests)
		return err
	})
}

// deleteRules deletes our rules of some chains, and nobody else's.
func (r *ruleset) deleteRules(of func(chain string) bool) error {
	return r.do(func(conn *nftConn) error {
		var messages []nftMessage
		for _, f := range r.families {
			rules, err := listRules(conn, f)
			if err != nil {
				return err
			}
			for _, m := range rules {
				chain := stringAttr(m.attrs, unix.NFTA_RULE_CHAIN)
				if _, ours := parseComment(findAttr(m.attrs, unix.NFTA_RULE_USERDATA)); ours && of(chain) {
					messages = append(messages, deleteRule(f, chain, findAttr(m.attrs, unix.NFTA_RULE_HANDLE)))
				}
			}
		}
		_, err := conn.commit(messages)
		return err
	})
}

// do gives a function the connection. After an error the connection is closed,
// since answers may be left in it, and nothing is known any more.
func (r *ruleset) do(work func(*nftConn) error) error {
	if r.conn == nil {
		conn, err := dialNFT()
		if err != nil {
			return err
		}
		r.conn = conn
	}
	err := work(r.conn)
	if err != nil {
		return errors.Join(err, r.close())
	}
	return nil
}

// close closes the connection. The next use opens another one.
func (r *ruleset) close() error {
	if r.conn == nil {
		return nil
	}
	conn := r.conn
	r.conn, r.known = nil, nil
	return conn.close()
}
