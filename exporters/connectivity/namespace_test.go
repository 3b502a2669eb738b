package connectivity

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// inNamespace says that this process has a network namespace of its own.
const inNamespace = "PEER_OBSERVER_TEST_CONNECTIVITY"

func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) != "" {
		if err := isolate(); err != nil {
			fmt.Println("can't prepare the network:", err)
			os.Exit(3)
		}
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

// The ranges that are this machine in the namespace: public addresses, that of a private
// network, and of a tunnel (6to4).
func localRanges() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("8.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("2a00::/16"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fc00::/7"),
	}
}

// isolate turns lo on and makes every address of localRanges one of this machine.
// There is no other interface, so nothing can leave.
func isolate() error {
	interfaces, err := os.ReadDir("/sys/class/net")
	if err == nil && len(interfaces) == 0 {
		return fmt.Errorf("no interface at all")
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("turning lo on: %w", err)
	}
	for _, p := range localRanges() {
		if err := makeLocal(p); err != nil {
			return fmt.Errorf("%v: %w", p, err)
		}
	}
	// A route is not enough to bind an IPv6 address.
	return os.WriteFile("/proc/sys/net/ipv6/ip_nonlocal_bind", []byte("1"), 0)
}

// makeLocal adds a local route (rtnetlink(7)).
func makeLocal(p netip.Prefix) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	family, address := byte(unix.AF_INET), p.Addr().AsSlice()
	if p.Addr().Is6() {
		family = unix.AF_INET6
	}
	body := []byte{
		family, byte(p.Bits()), 0, 0,
		unix.RT_TABLE_LOCAL, unix.RTPROT_BOOT, unix.RT_SCOPE_HOST, unix.RTN_LOCAL, 0, 0, 0, 0,
	}
	body = binary.NativeEndian.AppendUint16(body, uint16(4+len(address)))
	body = binary.NativeEndian.AppendUint16(body, unix.RTA_DST)
	body = append(body, address...)
	body = binary.NativeEndian.AppendUint16(body, 8)
	body = binary.NativeEndian.AppendUint16(body, unix.RTA_OIF)
	body = binary.NativeEndian.AppendUint32(body, 1) // lo
	message := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	message = binary.NativeEndian.AppendUint16(message, unix.RTM_NEWROUTE)
	message = binary.NativeEndian.AppendUint16(message, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE)
	message = append(message, make([]byte, 8)...)
	if err := unix.Sendto(fd, append(message, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return err
	}
	if n < unix.NLMSG_HDRLEN+4 {
		return fmt.Errorf("short answer")
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:])); code != 0 {
		return syscall.Errno(-code)
	}
	return nil
}
