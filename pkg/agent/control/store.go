package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// store keeps the desired set in a file, for the agent that follows this one
// after a crash or an image update. With an empty directory name it keeps
// nothing.
type store struct{ dir string }

// stateFile is the file's content.
type stateFile struct {
	Version int         `json:"version"`
	Faults  []api.Fault `json:"faults"`
	// Boot is the boot that the deadlines count from; see bootID.
	Boot      string           `json:"boot,omitempty"`
	Deadlines []storedDeadline `json:"deadlines,omitempty"`
}

// storedDeadline is fault.Fault.Deadline.
type storedDeadline struct {
	Fault     string `json:"fault"`
	SinceBoot int64  `json:"sinceBoot"` // nanoseconds
}

// stateVersion is raised when an agent of another version could misread the
// file.
const stateVersion = 1

// maxStateFile is in bytes, far above the size of the largest set.
const maxStateFile = 4 << 20

var (
	// errNoState reports that nothing was ever stored.
	errNoState = errors.New("no state stored")
	// errDamaged reports a file that no agent of this version wrote.
	errDamaged = errors.New("state file damaged")
)

func (s store) path() string { return filepath.Join(s.dir, "state.json") }

// save replaces the file as a whole, so that after a crash it has the old state
// or the new one.
func (s store) save(set Set, boot string) error {
	if s.dir == "" {
		return nil
	}
	content, err := encodeState(set, boot)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	if err := replaceFile(s.path(), content); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// saveInPlace is save for a set that is smaller than the one in the file, where
// the disk has no room for another file. A crash in between damages the file.
func (s store) saveInPlace(set Set, boot string) error {
	content, err := encodeState(set, boot)
	if err != nil {
		return err
	}
	if err := overwriteFile(s.path(), content); err != nil {
		return fmt.Errorf("overwrite state: %w", err)
	}
	return nil
}

func encodeState(set Set, boot string) ([]byte, error) {
	state := stateFile{Version: stateVersion, Faults: set.Wire, Boot: boot}
	for _, f := range set.Faults {
		if f.Deadline > 0 {
			state.Deadlines = append(state.Deadlines, storedDeadline{f.Name, f.Deadline.Nanoseconds()})
		}
	}
	content, err := json.Marshal(state)
	if err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	return append(content, '\n'), nil
}

// overwriteFile writes to a file that is at least as long.
func overwriteFile(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if info, err := file.Stat(); err != nil || info.Size() < int64(len(content)) {
		return errors.Join(err, errors.New("there is no room for it"), file.Close())
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Truncate(int64(len(content)))
	}
	return errors.Join(err, file.Close())
}

// replaceFile writes a new file and renames it to the old one's name, so that a
// crash of the process leaves the old content or the new.
//
// It does not flush to the disk (fsync), which would be slower than all the rest
// of a change. A crash of the node ends the faults in its kernel too, and the
// next agent sets aside a file that was only half written.
func replaceFile(path string, content []byte) error {
	beside, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = beside.Write(content)
	err = errors.Join(err, beside.Close())
	if err == nil {
		err = os.Rename(beside.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(beside.Name()))
	}
	return nil
}

// load returns the stored set, including faults whose time is over. Deadlines of
// another boot are left out. The error is errNoState when nothing was stored. It
// is errDamaged when the file can't be understood; the file was then renamed, so
// that nothing overwrites it.
func (s store) load(boot string) ([]fault.Fault, error) {
	if s.dir == "" {
		return nil, errNoState
	}
	info, err := os.Stat(s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoState
	}
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read state: %s is no regular file", s.path())
	}
	if info.Size() > maxStateFile {
		return nil, s.setAside(fmt.Errorf("%d bytes, want at most %d", info.Size(), maxStateFile))
	}
	content, err := os.ReadFile(s.path())
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	faults, err := decodeState(content, boot)
	if err != nil {
		return nil, s.setAside(err)
	}
	return faults, nil
}

// setAside renames a damaged file and returns errDamaged with the cause and the
// file's new name.
func (s store) setAside(cause error) error {
	aside := fmt.Sprintf("%s.damaged-%s", s.path(), time.Now().UTC().Format("20060102T150405.000"))
	return errors.Join(fmt.Errorf("%w: %w, set aside as %s", errDamaged, cause, aside), os.Rename(s.path(), aside))
}

// decodeState reads what save wrote.
func decodeState(content []byte, boot string) ([]fault.Fault, error) {
	var state stateFile
	if err := fault.Decode(content, &state); err != nil {
		return nil, err
	}
	if state.Version != stateVersion {
		return nil, fmt.Errorf("version %d, want %d", state.Version, stateVersion)
	}
	faults, err := fault.ParseSet(state.Faults, fault.Limits{Stored: true})
	if err != nil || boot == "" || state.Boot != boot {
		return faults, err
	}
	for _, d := range state.Deadlines {
		if f := fault.Find(faults, d.Fault); f != nil {
			f.Deadline = time.Duration(d.SinceBoot)
		}
	}
	return faults, nil
}
