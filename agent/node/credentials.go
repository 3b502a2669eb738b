package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxCredentialBytes bounds a cookie or password file. Bitcoin Core's cookie
// has 75 bytes.
const maxCredentialBytes = 4096

// login is a user and password for HTTP basic authentication.
type login struct {
	user, password string
}

// fileState tells two states of a file apart without reading it.
type fileState struct {
	device, inode uint64
	size          int64
	modified      time.Time
}

// credentials holds the login of a node and re-reads the file it comes from
// whenever that has changed.
type credentials struct {
	path   string // cookie or password file; empty: login is fixed
	user   string // empty: path is a cookie
	mutex  sync.Mutex
	state  fileState
	login  login
	loaded bool
}

func newCredentials(o ClientOptions) (*credentials, error) {
	switch {
	case o.User != "" && o.PasswordFile == "" && o.Password == "":
		return nil, &credentialsError{kind: ErrCredentials,
			text: "--rpc.user needs --rpc.password-file"}
	case o.User == "" && o.PasswordFile != "":
		return nil, &credentialsError{kind: ErrCredentials,
			text: "--rpc.password-file needs --rpc.user"}
	case o.User != "" && strings.Contains(o.User, ":"):
		return nil, &credentialsError{kind: ErrCredentials,
			text: "--rpc.user must not contain a colon"}
	case o.User != "" && o.PasswordFile == "":
		return &credentials{user: o.User, login: login{o.User, o.Password}}, nil
	case o.User != "":
		return &credentials{path: o.PasswordFile, user: o.User}, nil
	case o.CookieFile != "":
		return &credentials{path: o.CookieFile}, nil
	}
	return nil, &credentialsError{kind: ErrCredentials,
		text: "no RPC credentials: give --rpc.cookie-file, or --rpc.user and --rpc.password-file"}
}

// current returns the login, reading the file where it is new or changed.
func (c *credentials) current() (login, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.path == "" {
		return c.login, nil
	}
	info, err := os.Stat(c.path)
	if err != nil {
		c.loaded = false
		return login{}, c.unreadable(err)
	}
	if c.loaded && stateOf(info) == c.state {
		return c.login, nil
	}
	return c.read()
}

// reread reads the file whether or not it looks changed.
func (c *credentials) reread() (login, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.path == "" {
		return c.login, nil
	}
	return c.read()
}

func (c *credentials) read() (login, error) {
	c.loaded = false
	text, info, err := readSmallFile(c.path)
	if err != nil {
		return login{}, c.unreadable(err)
	}
	text = strings.TrimSuffix(text, "\n")
	text = strings.TrimSuffix(text, "\r")
	if c.user != "" {
		c.login = login{c.user, text}
	} else {
		user, password, found := strings.Cut(text, ":")
		if !found || user == "" || password == "" {
			// A node that is starting creates the file before it writes it.
			return login{}, &credentialsError{kind: ErrCredentials,
				text: fmt.Sprintf("cookie file %s is not of the form user:password", c.path)}
		}
		c.login = login{user, password}
	}
	c.state, c.loaded = stateOf(info), true
	return c.login, nil
}

// readSmallFile reads a regular file of at most maxCredentialBytes. The open
// does not block where the path is a pipe.
func readSmallFile(path string) (string, fs.FileInfo, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", nil, err
	}
	if !info.Mode().IsRegular() {
		return "", nil, errors.New("not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(file, maxCredentialBytes+1))
	if err != nil {
		return "", nil, err
	}
	if len(data) > maxCredentialBytes {
		return "", nil, fmt.Errorf("more than %d bytes", maxCredentialBytes)
	}
	return string(data), info, nil
}

// unreadable explains why the file can't be read and what helps.
func (c *credentials) unreadable(err error) error {
	what, flag := "cookie file", "--rpc.cookie-file"
	if c.user != "" {
		what, flag = "password file", "--rpc.password-file"
	}
	text := fmt.Sprintf("%s %s cannot be read", what, c.path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		text += fmt.Sprintf(" by user id %d: run as the node's user, or", os.Geteuid())
		if c.user == "" {
			text += " give the node -rpccookieperms=group and join its group, or"
		}
		text += fmt.Sprintf(" choose another with %s", flag)
	case errors.Is(err, fs.ErrNotExist) && c.user == "":
		text += fmt.Sprintf(": the node writes it when its RPC server starts, unless it uses rpcpassword (flags %s, --rpc.user)", flag)
	case errors.Is(err, fs.ErrNotExist):
		text += fmt.Sprintf(" (flag %s)", flag)
	}
	return &credentialsError{kind: ErrCredentials, text: text, err: err}
}

// refused is the error for a 401 from address.
func (c *credentials) refused(address string) error {
	text := fmt.Sprintf("the node at %s refused the cookie in %s: the cookie of another node or of an earlier run? (flags --rpc.cookie-file, --bitcoin.datadir)", address, c.path)
	switch {
	case c.user != "" && c.path == "":
		text = fmt.Sprintf("the node at %s refused the rpcuser and rpcpassword of its own configuration (changed since it started?): give --rpc.user and --rpc.password-file", address)
	case c.user != "":
		text = fmt.Sprintf("the node at %s refused user %q with the password in %s: correct --rpc.user or --rpc.password-file", address, c.user, c.path)
	}
	return &credentialsError{kind: ErrUnauthorized, text: text}
}

func stateOf(info fs.FileInfo) fileState {
	state := fileState{size: info.Size(), modified: info.ModTime()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		state.device, state.inode = uint64(stat.Dev), stat.Ino //nolint:unconvert // another type on other systems
	}
	return state
}
