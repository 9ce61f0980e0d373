#include "adapter_fixture.h"

int main(int argc, char **argv)
{
    return adapter_fixture_main("echo", PST_FIXTURES "/echo", argc, argv);
}
